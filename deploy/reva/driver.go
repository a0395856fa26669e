// Package efsstransfer copies what an embedded share of Open Cloud Mesh lists, by a service of
// efss-transfer.
//
// A share is successful only if every file that its payload lists is at the destination. This file
// needs nothing but Go's library; register.go makes it a driver of REVA's.
package efsstransfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	longestLine  = 16 << 20
	longestError = 64 << 10
	mostNamed    = 5
	firstPause   = 2 * time.Second
	longestPause = time.Minute
)

// Config is the driver's configuration.
type Config struct {
	// Service is the URL of the service, and Token the bearer token for it, if it wants one.
	Service string `mapstructure:"service"`
	Token   string `mapstructure:"token"`
	// WebDAVURL is where files are stored, as the service reaches it; Vendor is its kind.
	WebDAVURL string `mapstructure:"webdav_url"`
	Vendor    string `mapstructure:"webdav_vendor"`
	// Tries is how often a transfer is sent that did not end, or that may succeed later.
	Tries int `mapstructure:"tries"`
	// SilenceSeconds is for how long the service may say nothing.
	SilenceSeconds int `mapstructure:"silence_seconds"`
}

// ApplyDefaults fills in what is not set.
func (c *Config) ApplyDefaults() {
	if c.Vendor == "" {
		c.Vendor = "other"
	}
	if c.Tries <= 0 {
		c.Tries = 5
	}
	if c.SilenceSeconds <= 0 {
		c.SilenceSeconds = 60
	}
}

// File is a file of a share: what the service needs to know of it.
type File struct {
	URL      string `json:"url"`
	Path     string `json:"path"`
	Size     *int64 `json:"size,omitempty"`
	Checksum string `json:"checksum,omitempty"`
}

// Outcome is what became of a file.
type Outcome struct {
	Path  string
	State string // transferred, skipped or failed
	Error string // for a failed one
}

// Driver copies shares. Report, if there is one, learns of each file's outcome.
type Driver struct {
	Config Config
	HTTP   *http.Client
	Report func(Outcome)
	// Pause waits between two tries; a test replaces it.
	Pause func(context.Context, time.Duration) error
}

// NewDriver makes a driver of a configuration.
func NewDriver(c Config) (*Driver, error) {
	c.ApplyDefaults()
	for name, value := range map[string]string{"service": c.Service, "webdav_url": c.WebDAVURL} {
		parsed, err := url.Parse(value)
		if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			return nil, fmt.Errorf("efss-transfer: %s must be an http or https URL", name)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = time.Duration(c.SilenceSeconds) * time.Second
	client := &http.Client{
		Transport: transport,
		// The request has a token, which must go nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Driver{Config: c, HTTP: client, Pause: pause}, nil
}

// Transfer copies files to a folder with the token of its user. It returns nil only if all of them
// are there.
func (d *Driver) Transfer(ctx context.Context, token, destination string, files []File) error {
	if len(files) == 0 {
		return nil
	}
	body, err := d.request(token, destination, files)
	if err != nil {
		return err
	}
	wait := firstPause
	for try := 1; ; try++ {
		outcomes, err := d.send(ctx, body)
		if err == nil {
			err = missing(files, outcomes)
		}
		var later *laterError
		if err == nil || !errors.As(err, &later) || try >= d.Config.Tries {
			d.report(files, outcomes)
			return err
		}
		if later.after > wait {
			wait = later.after
		}
		if stopped := d.Pause(ctx, wait); stopped != nil {
			return fmt.Errorf("efss-transfer: stopped (%v) after: %w", stopped, later.error)
		}
		if wait *= 2; wait > longestPause {
			wait = longestPause
		}
	}
}

// laterError is a failure that the same request may not meet again.
type laterError struct {
	error
	after time.Duration
}

func (e *laterError) Unwrap() error { return e.error }

func (d *Driver) request(token, destination string, files []File) ([]byte, error) {
	return json.Marshal(map[string]any{
		"source": map[string]any{
			"type":       "urls",
			"parameters": map[string]any{"files": files},
			"path":       "",
		},
		"destination": map[string]any{
			"type": "webdav",
			"parameters": map[string]any{
				"url": d.Config.WebDAVURL, "vendor": d.Config.Vendor, "bearer_token": token,
			},
			"path": strings.Trim(destination, "/"),
		},
	})
}

// event has what is needed of an event of the service's stream, or of its result.
type event struct {
	Event string `json:"event"`
	Path  string `json:"path"`
	State string `json:"state"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Errors []struct {
		Code      string `json:"code"`
		Retryable bool   `json:"retryable"`
		Count     int    `json:"count"`
		Samples   []struct {
			Path    string `json:"path"`
			Message string `json:"message"`
		} `json:"samples"`
	} `json:"errors"`
}

// problem is what the service answers in place of events (RFC 9457).
type problem struct {
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Retryable bool   `json:"retryable"`
}

// send sends the request once, and follows it until its result.
func (d *Driver) send(ctx context.Context, body []byte) (map[string]Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endpoint := strings.TrimRight(d.Config.Service, "/") + "/"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/x-ndjson, application/problem+json")
	if d.Config.Token != "" {
		request.Header.Set("Authorization", "Bearer "+d.Config.Token)
	}
	answer, err := d.HTTP.Do(request)
	if err != nil {
		return nil, &laterError{fmt.Errorf("efss-transfer: the service cannot be reached: %w", err), 0}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, refused(answer)
	}
	return d.follow(answer.Body, cancel)
}

// follow reads events until the result. A service that says nothing for too long is left, by
// cancel.
func (d *Driver) follow(body io.Reader, cancel func()) (map[string]Outcome, error) {
	silence := time.Duration(d.Config.SilenceSeconds) * time.Second
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	outcomes := map[string]Outcome{}
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	for lines.Scan() {
		watch.Reset(silence)
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return outcomes, fmt.Errorf("efss-transfer: the service does not speak its protocol: %w", err)
		}
		switch e.Event {
		case "file":
			outcome := Outcome{Path: e.Path, State: e.State}
			if e.Error != nil {
				outcome.Error = e.Error.Code + ": " + e.Error.Message
			}
			outcomes[e.Path] = outcome // the later one counts
		case "result":
			return outcomes, resulting(e)
		}
	}
	return outcomes, &laterError{
		fmt.Errorf("efss-transfer: the service ended its answer before the result: %v", lines.Err()), 0,
	}
}

// refused is the error of an answer that is no stream of events.
func refused(answer *http.Response) error {
	var p problem
	content, _ := io.ReadAll(io.LimitReader(answer.Body, longestError))
	if json.Unmarshal(content, &p) != nil || p.Code == "" {
		p = problem{Code: "status " + strconv.Itoa(answer.StatusCode), Detail: "no answer of efss-transfer's"}
		p.Retryable = answer.StatusCode == http.StatusBadGateway ||
			answer.StatusCode == http.StatusServiceUnavailable ||
			answer.StatusCode == http.StatusGatewayTimeout
	}
	err := fmt.Errorf("efss-transfer: %s: %s", p.Code, p.Detail)
	if !p.Retryable {
		return err
	}
	seconds, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
	if seconds < 0 {
		seconds = 0
	}
	return &laterError{err, time.Duration(seconds) * time.Second}
}

// resulting is nil for a result that is a success, as far as the service knows.
func resulting(result event) error {
	if result.State == "succeeded" {
		return nil
	}
	parts, later := []string{}, result.State == "incomplete" || result.State == "cancelled"
	for number, group := range result.Errors {
		later = later || group.Retryable
		if number >= mostNamed {
			continue
		}
		text := fmt.Sprintf("%s (%d)", group.Code, group.Count)
		if len(group.Samples) > 0 {
			text += fmt.Sprintf(" %s: %s", group.Samples[0].Path, group.Samples[0].Message)
		}
		parts = append(parts, text)
	}
	err := fmt.Errorf("efss-transfer: %s: %s", result.State, strings.Join(parts, "; "))
	if later {
		return &laterError{err, 0}
	}
	return err
}

// missing is the error of files that a success does not cover.
func missing(files []File, outcomes map[string]Outcome) error {
	var lost []string
	for _, file := range files {
		if state := outcomes[file.Path].State; state != "transferred" && state != "skipped" {
			lost = append(lost, file.Path)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	named := lost
	if len(named) > mostNamed {
		named = named[:mostNamed]
	}
	return fmt.Errorf("efss-transfer: %d of %d files have no outcome: %s", len(lost), len(files),
		strings.Join(named, ", "))
}

// report tells the outcome of each file, in their order.
func (d *Driver) report(files []File, outcomes map[string]Outcome) {
	if d.Report == nil {
		return
	}
	for _, file := range files {
		outcome, known := outcomes[file.Path]
		if !known {
			outcome = Outcome{Path: file.Path, State: "failed", Error: "no outcome"}
		}
		d.Report(outcome)
	}
}

func pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// entity is an entity of an RO-Crate's graph.
type entity struct {
	ID           string          `json:"@id"`
	Type         json.RawMessage `json:"@type"`
	URL          json.RawMessage `json:"url"`
	Name         string          `json:"name"`
	ContentSize  json.RawMessage `json:"contentSize"`
	SHA256       string          `json:"sha256"`
	Distribution []struct {
		ContentURL  string          `json:"contentUrl"`
		Name        string          `json:"name"`
		ContentSize json.RawMessage `json:"contentSize"`
		SHA256      string          `json:"sha256"`
	} `json:"distribution"`
}

var copied = map[string]bool{"File": true, "ComputationalWorkflow": true, "SoftwareSourceCode": true}

// Files reads the files that a payload lists: an RO-Crate, or a record of Zenodo's in that form.
//
// A payload with a file that cannot be copied as it is named is an error as a whole: a share is not
// to look complete without it.
func Files(payload string) ([]File, error) {
	var crate struct {
		Graph []entity `json:"@graph"`
	}
	if err := json.Unmarshal([]byte(payload), &crate); err != nil {
		return nil, fmt.Errorf("efss-transfer: the payload is no RO-Crate: %w", err)
	}
	if crate.Graph == nil {
		return nil, errors.New("efss-transfer: the payload has no @graph")
	}
	var files []File
	for _, e := range crate.Graph {
		if address := reference(e.URL); address != "" && isCopied(e.Type) {
			files = append(files, File{address, e.Name, size(e.ContentSize), checksum(e.SHA256)})
		}
		for _, d := range e.Distribution {
			if d.ContentURL != "" {
				files = append(files, File{d.ContentURL, d.Name, size(d.ContentSize), checksum(d.SHA256)})
			}
		}
	}
	return files, place(files)
}

// place gives each file the path under which it is stored.
func place(files []File) error {
	urls := map[string]string{}
	for number := range files {
		file := &files[number]
		address, err := url.Parse(file.URL)
		if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
			return fmt.Errorf("efss-transfer: %q is no http or https URL", file.URL)
		}
		name := strings.TrimSpace(file.Path)
		if name == "" {
			name = path.Base(strings.TrimSuffix(address.Path, "/content")) // Zenodo's API ends so
		}
		if !isSafe(name) {
			return fmt.Errorf("efss-transfer: %q is no path that a file can have", name)
		}
		if other, taken := urls[name]; taken {
			return fmt.Errorf("efss-transfer: %s and %s have one path: %q", other, file.URL, name)
		}
		file.Path, urls[name] = name, file.URL
	}
	sort.SliceStable(files, func(a, b int) bool { return files[a].Path < files[b].Path })
	return nil
}

func isSafe(name string) bool {
	if name == "" || strings.ContainsAny(name, "\x00\n\r\\") {
		return false
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// reference reads a string, or the @id of an object.
func reference(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct {
		ID string `json:"@id"`
	}
	_ = json.Unmarshal(raw, &object)
	return object.ID
}

func isCopied(raw json.RawMessage) bool {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return copied[one]
	}
	var several []string
	_ = json.Unmarshal(raw, &several)
	for _, name := range several {
		if copied[name] {
			return true
		}
	}
	return false
}

// size reads a number, or a string with one; nil for anything else.
func size(raw json.RawMessage) *int64 {
	count, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
	if err != nil || count < 0 {
		return nil
	}
	return &count
}

func checksum(sha256 string) string {
	if len(sha256) != 64 {
		return ""
	}
	return "sha256:" + strings.ToLower(sha256)
}
