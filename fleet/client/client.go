// Package client asks a fleet's server: agents enrol and send evidence with it,
// the command line reads and operates.
package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/server"
)

// Client talks to one server.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// ErrPin is wrapped where a server's key is not the one that was pinned (G06).
var ErrPin = errors.New("the server's key is not the pinned one")

// New makes a client. token is of an agent, or a session of a person. pin is the
// SHA-256 of the server's public key (SubjectPublicKeyInfo) in hexadecimal: with
// one, no other key is talked to and no authority is asked. Without TLS only a
// server on this machine is talked to.
func New(server, token, pin string) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("server %q: want https://HOST:PORT", server)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("server %s: without TLS only a server on this machine is asked; use https", server)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	if pin != "" {
		want, err := hex.DecodeString(pin)
		if err != nil || len(want) != sha256.Size {
			return nil, fmt.Errorf("pin %.80q: want the SHA-256 of the server's key, in hexadecimal", pin)
		}
		cfg.InsecureSkipVerify = true // the pin is stricter than any authority
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return pinned(s.PeerCertificates, want) }
	}
	t := &http.Transport{TLSClientConfig: cfg, ResponseHeaderTimeout: 6 * time.Minute, MaxResponseHeaderBytes: 64 << 10, DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext}
	c := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("the server redirects, which it should not")
	}}
	return &Client{u, token, c}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func pinned(certs []*x509.Certificate, want []byte) error {
	if len(certs) == 0 {
		return ErrPin
	}
	if got := sha256.Sum256(certs[0].RawSubjectPublicKeyInfo); !bytes.Equal(got[:], want) {
		return fmt.Errorf("%w: it is %x", ErrPin, got)
	}
	return nil
}

// Problem is an answer of the server that says why not.
type Problem struct {
	Status int           `json:"status"`
	Detail string        `json:"detail"`
	Retry  time.Duration `json:"-"` // after which it may go better, as the server says; 0 when it does not
}

func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("the server answers %d", p.Status)
	}
	return p.Detail
}

const maxAnswer = 64 << 20

// Do asks for a path and decodes the answer into out, when there is one.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	kind := ""
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/zip"
	case json.RawMessage:
		body, kind = bytes.NewReader(v), "application/json"
	default:
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, kind = bytes.NewReader(raw), "application/json"
	}
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		p := &Problem{Status: res.StatusCode}
		if strings.Contains(res.Header.Get("Content-Type"), "json") {
			_ = json.Unmarshal(raw, p) // without one the status says it
		}
		p.Retry = retryAfter(res.Header)
		return p
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("the server's answer: %w", err)
	}
	return nil
}

// longestRetry bounds what a server can make a machine wait.
const longestRetry = 24 * time.Hour

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n <= 0 {
		return 0
	}
	return min(time.Duration(min(n, 1<<20))*time.Second, longestRetry)
}

// Enrol makes a machine known: answer has its TPM open the challenge.
func (c *Client) Enrol(ctx context.Context, e server.Enrolment, answer func(*tpm.Challenge) (*tpm.Answer, error)) (*api.Enrolled, error) {
	var begun api.Enrolling
	if err := c.Do(ctx, http.MethodPost, "/v1/enrolments", nil, e, &begun); err != nil {
		return nil, err
	}
	a, err := answer(&begun.Challenge)
	if err != nil {
		return nil, err
	}
	out := &api.Enrolled{}
	return out, c.Do(ctx, http.MethodPost, "/v1/enrolments/"+url.PathEscape(begun.ID), nil, a, out)
}

// Next asks whether evidence is due, and waits for it.
func (c *Client) Next(ctx context.Context, host string, wait time.Duration) (*api.Next, error) {
	out := &api.Next{}
	return out, c.Do(ctx, http.MethodGet, "/v1/hosts/"+url.PathEscape(host)+"/audit", url.Values{"wait": {strconv.Itoa(int(wait.Seconds()))}}, nil, out)
}

// Send sends a bundle, as a zip, that answers an audit.
func (c *Client) Send(ctx context.Context, host string, a *api.Audit, zip []byte) (*api.Received, error) {
	out := &api.Received{}
	return out, c.Do(ctx, http.MethodPost, "/v1/hosts/"+url.PathEscape(host)+"/evidence", url.Values{"nonce": {a.Nonce}}, zip, out)
}

// Login gives a client of a person.
func (c *Client) Login(ctx context.Context, name, password string) (*Client, error) {
	var s api.Session
	if err := c.Do(ctx, http.MethodPost, "/v1/login", nil, api.Login{Name: name, Password: password}, &s); err != nil {
		return nil, err
	}
	out := *c
	out.token = s.Session
	return &out, nil
}

// Session is what the client shows to the server.
func (c *Client) Session() string { return c.token }
