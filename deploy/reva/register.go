//go:build reva

package efsstransfer

import (
	"context"

	"github.com/cs3org/reva/v3"
	"github.com/cs3org/reva/v3/pkg/appctx"
	"github.com/cs3org/reva/v3/pkg/ocm/embedded"
	"github.com/cs3org/reva/v3/pkg/utils/cfg"
)

func init() {
	reva.RegisterPlugin(transferrer{})
}

type transferrer struct{ config Config }

// RevaPlugin names the driver in REVA's configuration: `efss_transfer`.
func (transferrer) RevaPlugin() reva.PluginInfo {
	return reva.PluginInfo{
		ID:  "grpc.services.ocmshareprovider.embedded_drivers.efss_transfer",
		New: newTransferrer,
	}
}

func newTransferrer(_ context.Context, m map[string]any) (embedded.Transferrer, error) {
	var t transferrer
	if err := cfg.Decode(m, &t.config); err != nil {
		return nil, err
	}
	_, err := NewDriver(t.config)
	return t, err
}

// Process begins the copy of a share, which goes on after it returns.
func (t transferrer) Process(
	ctx context.Context, payload, destination string, onComplete func(error),
) error {
	files, err := Files(payload)
	if err != nil {
		return err
	}
	driver, err := NewDriver(t.config)
	if err != nil {
		return err
	}
	log, token := appctx.GetLogger(ctx), appctx.ContextMustGetToken(ctx)
	driver.Report = func(it Outcome) {
		log.Info().Str("path", it.Path).Str("state", it.State).Str("error", it.Error).
			Str("destination", destination).Msg("embedded transfer: file")
	}
	go func() {
		err := driver.Transfer(context.Background(), token, destination, files)
		if err != nil {
			log.Error().Err(err).Str("destination", destination).Msg("embedded transfer failed")
		}
		if onComplete != nil {
			onComplete(err)
		}
	}()
	return nil
}
