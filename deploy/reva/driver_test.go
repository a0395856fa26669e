package efsstransfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

const payload = `{"@graph": [
	{"@id": "./", "@type": "Dataset", "distribution": [
		{"@type": "DataDownload", "contentUrl": "https://zenodo.org/api/records/1/files/z.csv/content"}]},
	{"@id": "a", "@type": "File", "url": "https://data.example.org/a.h5", "name": "raw/a.h5", "contentSize": "12"},
	{"@id": "w", "@type": ["File", "ComputationalWorkflow"], "url": {"@id": "https://data.example.org/w.ga"}},
	{"@id": "p", "@type": "Person", "url": "https://data.example.org/alice"}
]}`

var two = []File{
	{URL: "https://data.example.org/a", Path: "a"}, {URL: "https://data.example.org/b", Path: "b"},
}

const (
	started   = `{"event": "started", "engine": "rclone"}`
	fileA     = `{"event": "file", "path": "a", "state": "transferred", "bytes": 1}`
	fileB     = `{"event": "file", "path": "b", "state": "skipped", "reason": "same"}`
	failedB   = `{"event": "file", "path": "b", "state": "failed", "error": {"code": "source_not_found", "message": "gone"}}`
	succeeded = `{"event": "result", "state": "succeeded", "errors": []}`
	partial   = `{"event": "result", "state": "partial", "errors": [{"code": "source_not_found",
		"retryable": false, "count": 1, "samples": [{"path": "b", "message": "gone"}]}]}`
	timeOut = `{"event": "result", "state": "incomplete", "errors": []}`
)

// answer is how the stand-in answers one request.
type answer struct {
	status int
	header map[string]string
	lines  []string
}

func stream(lines ...string) answer { return answer{status: 200, lines: lines} }

// served is a driver whose service gives these answers, one after another; the last one repeats.
func served(t *testing.T, answers ...answer) (*Driver, *[]map[string]any, *[]time.Duration) {
	t.Helper()
	bodies, waits := &[]map[string]any{}, &[]time.Duration{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer service-token" {
			t.Errorf("signed in by %q", r.Header.Get("Authorization"))
		}
		content, _ := io.ReadAll(r.Body)
		var body map[string]any
		if err := json.Unmarshal(content, &body); err != nil {
			t.Error(err)
		}
		*bodies = append(*bodies, body)
		one := answers[len(answers)-1]
		if len(*bodies) <= len(answers) {
			one = answers[len(*bodies)-1]
		}
		for name, value := range one.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(one.status)
		for _, line := range one.lines {
			fmt.Fprintln(w, strings.ReplaceAll(line, "\n", " "))
		}
	}))
	t.Cleanup(server.Close)
	driver, err := NewDriver(Config{
		Service: server.URL, Token: "service-token", WebDAVURL: "https://cloud.example.org/dav", Tries: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	driver.Pause = func(_ context.Context, wait time.Duration) error {
		*waits = append(*waits, wait)
		return nil
	}
	return driver, bodies, waits
}

func transfer(driver *Driver, files []File) error {
	return driver.Transfer(context.Background(), "canary", "/home/alice/share", files)
}

func TestPayloadIsRead(t *testing.T) {
	files, err := Files(payload)
	if err != nil {
		t.Fatal(err)
	}
	twelve := int64(12)
	expected := []File{
		{URL: "https://data.example.org/a.h5", Path: "raw/a.h5", Size: &twelve},
		{URL: "https://data.example.org/w.ga", Path: "w.ga"},
		{URL: "https://zenodo.org/api/records/1/files/z.csv/content", Path: "z.csv"},
	}
	if !reflect.DeepEqual(files, expected) {
		t.Errorf("%+v", files)
	}
}

func TestPayloadThatCannotBeCopiedAsAWholeIsRefused(t *testing.T) {
	file := func(url, name string) string {
		return fmt.Sprintf(`{"@type": "File", "url": %q, "name": %q}`, url, name)
	}
	for name, entities := range map[string]string{
		"parent":        file("https://x.example/a", "../a"),
		"parent inside": file("https://x.example/a", "b/../../a"),
		"absolute":      file("https://x.example/a", "/etc/a"),
		"backslash":     file("https://x.example/a", `..\a`),
		"no name":       file("https://x.example/", ""),
		"local file":    file("file:///etc/passwd", "a"),
		"no host":       file("https:///a", "a"),
		"twice":         file("https://x.example/a", "a") + "," + file("https://x.example/b", "a"),
	} {
		if files, err := Files(`{"@graph": [` + entities + `]}`); err == nil {
			t.Errorf("%s: %+v", name, files)
		}
	}
	for _, text := range []string{"", "no JSON", "[]", "{}", `{"@graph": 1}`} {
		if _, err := Files(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestSuccessNeedsEveryFile(t *testing.T) {
	driver, bodies, _ := served(t, stream(started, fileA, fileB, succeeded))
	if err := transfer(driver, two); err != nil {
		t.Fatal(err)
	}
	destination := (*bodies)[0]["destination"].(map[string]any)
	parameters := destination["parameters"].(map[string]any)
	if destination["path"] != "home/alice/share" || parameters["bearer_token"] != "canary" {
		t.Errorf("%v", destination)
	}
	driver, _, _ = served(t, stream(started, fileA, succeeded))
	if err := transfer(driver, two); err == nil || !strings.Contains(err.Error(), "1 of 2 files") {
		t.Errorf("a file without an outcome: %v", err)
	}
}

func TestFailureNamesTheFileAndIsNotTriedAgain(t *testing.T) {
	driver, bodies, _ := served(t, stream(started, fileA, failedB, partial))
	var told []Outcome
	driver.Report = func(it Outcome) { told = append(told, it) }
	err := driver.Transfer(context.Background(), "canary", "to", two)
	if err == nil || !strings.Contains(err.Error(), "source_not_found (1) b: gone") {
		t.Errorf("%v", err)
	}
	expected := []Outcome{{"a", "transferred", ""}, {"b", "failed", "source_not_found: gone"}}
	if len(*bodies) != 1 || !reflect.DeepEqual(told, expected) {
		t.Errorf("%d requests, %v", len(*bodies), told)
	}
}

func TestUnfinishedTransferIsSentAgain(t *testing.T) {
	busy := answer{503, map[string]string{"Retry-After": "7"}, []string{`{"code": "busy", "detail": "later", "retryable": true}`}}
	for name, first := range map[string]answer{
		"time ran out": stream(started, fileA, timeOut),
		"cut off":      stream(started, fileA),
		"no word":      stream(),
		"busy":         busy,
		"a proxy":      {502, nil, []string{"<html>"}},
	} {
		driver, bodies, waits := served(t, first, stream(started, fileA, fileB, succeeded))
		if err := transfer(driver, two); err != nil || len(*bodies) != 2 {
			t.Errorf("%s: %v after %d requests", name, err, len(*bodies))
		}
		if name == "busy" && (*waits)[0] != 7*time.Second {
			t.Errorf("waited %v", *waits)
		}
	}
	driver, bodies, _ := served(t, stream(started, timeOut))
	if err := transfer(driver, two); err == nil || len(*bodies) != 3 {
		t.Errorf("%v after %d requests", err, len(*bodies))
	}
}

func TestRefusalIsFinalAndShowsNoToken(t *testing.T) {
	for name, one := range map[string]answer{
		"problem":  {403, nil, []string{`{"code": "forbidden", "detail": "not here", "retryable": false}`}},
		"redirect": {302, map[string]string{"Location": "https://elsewhere.example/"}, nil},
		"page":     {404, nil, []string{"<html>"}},
		"no JSON":  stream("<html>"),
	} {
		driver, bodies, _ := served(t, one)
		err := transfer(driver, two)
		if err == nil || len(*bodies) != 1 || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v after %d requests", name, err, len(*bodies))
		}
	}
}

func TestServiceThatSaysNothingIsLeft(t *testing.T) {
	gone := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, started)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	defer server.Close()
	driver, err := NewDriver(Config{
		Service: server.URL, WebDAVURL: "https://cloud.example.org/dav", Tries: 1, SilenceSeconds: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Transfer(context.Background(), "canary", "to", two); err == nil {
		t.Error("a success")
	}
	<-gone
}

func TestStopEndsThePause(t *testing.T) {
	driver, _, _ := served(t, stream(started, timeOut))
	ctx, cancel := context.WithCancel(context.Background())
	driver.Pause = func(ctx context.Context, _ time.Duration) error { cancel(); return pause(ctx, time.Hour) }
	var later *laterError
	if err := driver.Transfer(ctx, "canary", "to", two); err == nil || errors.As(err, &later) {
		t.Errorf("%v", err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for _, config := range []Config{
		{}, {Service: "x", WebDAVURL: "https://c.example"}, {Service: "https://s.example", WebDAVURL: "ftp://c.example"},
	} {
		if _, err := NewDriver(config); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
}

// TestAgainstARunningService is run by the project's own tests, which give it a request.
func TestAgainstARunningService(t *testing.T) {
	service := os.Getenv("TESTED_SERVICE")
	if service == "" {
		t.Skip("TESTED_SERVICE is not set")
	}
	files, err := Files(os.Getenv("TESTED_PAYLOAD"))
	if err != nil {
		t.Fatal(err)
	}
	driver, err := NewDriver(Config{Service: service, WebDAVURL: os.Getenv("TESTED_WEBDAV"), Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	driver.Report = func(it Outcome) { fmt.Printf("outcome %s %s %s\n", it.State, it.Path, it.Error) }
	fmt.Printf("transfer: %v\n", driver.Transfer(context.Background(), "token", os.Getenv("TESTED_FOLDER"), files))
}
