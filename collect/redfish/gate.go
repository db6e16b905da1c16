package redfish

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

// sessionsPath is where every controller has its sessions (DSP0266, Redfish
// session login authentication); the service root links to it as well.
const sessionsPath = rootPath + "/SessionService/Sessions"

// gate is the only way from the client library to a controller: one host, only
// reads, and a session where one was asked for.
//
// When the library connects it asks for the service root without credentials
// and decodes it into its own types. A root that asks for credentials, or that
// has a number where the library wants text, would end the scan before it
// began, and the collector has nothing to decode. The gate answers this first
// request itself; the true root is the first document of the walk.
type gate struct {
	inner     http.RoundTripper
	host      string
	session   bool
	connected bool
	opened    bool
	closed    bool
}

func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	at := strings.TrimSuffix(req.URL.Path, "/")
	var good []int
	switch {
	case req.URL.Scheme != "https" || req.URL.Host != g.host:
		return nil, errors.New("only the controller itself is asked")
	case req.Method == http.MethodGet && !g.connected && at == rootPath:
		g.connected = true
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{},
			Body: io.NopCloser(strings.NewReader(`{"Links":{"Sessions":{"@odata.id":"` + sessionsPath + `"}}}`)),
		}, nil
	case req.Method == http.MethodGet:
		good = []int{http.StatusOK}
	case req.Method == http.MethodPost && g.session && !g.opened && at == sessionsPath:
		g.opened = true
		good = []int{http.StatusOK, http.StatusCreated}
	case req.Method == http.MethodDelete && g.session && isSession(req.URL):
		good = []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent}
	default:
		return nil, fmt.Errorf("%s %s: a scan only reads", req.Method, at)
	}
	res, err := g.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := statusError(res.StatusCode, good); err != nil || req.Method != http.MethodGet {
		res.Body.Close()
		res.Body = http.NoBody
		g.closed = g.closed || err == nil && req.Method == http.MethodDelete
		if err != nil {
			return nil, err
		}
	}
	return res, nil
}

// isSession reports whether an address is one session and nothing else. The
// controller named it: "Sessions/../../Systems/1" is not one.
func isSession(u *url.URL) bool {
	id, ok := strings.CutPrefix(u.EscapedPath(), sessionsPath+"/")
	return ok && id != "" && !strings.ContainsAny(id, "/%") && strings.Trim(id, ".") != "" && u.RawQuery == "" && !u.ForceQuery
}

// statusError turns a status into an error with the right kind.
func statusError(code int, good []int) error {
	for _, c := range good {
		if c == code {
			return nil
		}
	}
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("status %d: refused: %w", code, fs.ErrPermission)
	case code == http.StatusNotFound:
		return fmt.Errorf("status %d: not there: %w", code, fs.ErrNotExist)
	case code >= 300 && code < 400:
		return fmt.Errorf("status %d: redirections are not followed", code)
	}
	return fmt.Errorf("status %d", code)
}
