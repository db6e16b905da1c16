// Package redfish reads what a management controller tells over the network
// (DMTF DSP0266). It is a source of its own, so that a scanner which asks no
// controller has not its libraries.
//
// It keeps documents as they came and proves nothing about them; who answers is
// decided by a pinned certificate. Only GET requests are sent, unless a session
// is asked for, which is opened with one POST and closed with one DELETE.
package redfish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stmcginnis/gofish"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/evidence"
)

// Name is the source's name, and the directory of its artefacts.
const Name = "redfish"

// Controller is a management controller that is asked over the network. Only
// this host is asked, and no redirection is followed.
type Controller struct {
	URL            string // https://host[:port], with or without /redfish/v1
	User, Password string // basic authentication; empty for none
	// Session logs in with a session instead of sending the password with every
	// request: some controllers allow nothing else. It writes to the controller.
	Session bool
	// Pin is the SHA-256 of the controller's certificate in hexadecimal. When it
	// is empty the certificate of the first contact is pinned for this scan and
	// kept in the bundle, and Contact is told.
	Pin     string
	Contact func(host, pin string)

	// resources and bytes lower the caps, for tests.
	resources int
	bytes     int64
}

// The caps of one controller. The largest trees of real controllers, without
// the branches that are left out, have about two thousand resources.
const (
	maxResources     = 4000
	maxResourceBytes = 4 << 20
	maxRedfishBytes  = 64 << 20
	resourceTime     = 15 * time.Second
	allTime          = 5 * time.Minute
	rootPath         = "/redfish/v1"
)

// Source is the source for these controllers; none makes one that reads
// nothing. The error says which cannot be asked.
func Source(cs ...Controller) (collect.Extra, error) {
	for i := range cs {
		if err := cs[i].check(); err != nil {
			return collect.Extra{}, err
		}
	}
	return collect.Extra{Name: Name, Limit: allTime + resourceTime, Run: func(ctx context.Context, s *collect.Sink) {
		// The time that is left then is for closing sessions.
		ctx, cancel := context.WithTimeout(ctx, allTime)
		defer cancel()
		for i := range cs {
			if u, err := url.Parse(cs[i].URL); err == nil {
				w := &walk{ctx: ctx, sink: s, from: &cs[i], host: u.Host, dir: strings.ReplaceAll(u.Host, ":", "_"), seen: map[string]bool{}}
				w.run()
			}
		}
	}}, nil
}

// skipped are branches that say nothing about parts, or that hold people's
// names, logs and files.
func skipped(p string) bool {
	for _, s := range []string{
		"AccountService", "SessionService", "EventService", "TaskService", "JobService", "TelemetryService", "Registries", "JsonSchemas", "LogServices",
		"$metadata", "odata", "MetricReports", "Sessions", "Subscriptions", "Jobs", "Tasks", "Accounts", "Actions",
	} {
		if slices.Contains(strings.Split(p, "/"), s) {
			return true
		}
	}
	return false
}

func (r *Controller) check() error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil:
		return fmt.Errorf("redfish %q: %w", r.URL, err)
	case u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "":
		return fmt.Errorf("redfish %q: want https://HOST, without name or password in it", r.URL)
	case strings.Trim(u.Path, "/") != "" && path.Clean("/"+u.Path) != rootPath:
		return fmt.Errorf("redfish %q: the path is not %s", r.URL, rootPath)
	}
	if r.User != "" && r.Password == "" || r.Session && r.User == "" {
		return fmt.Errorf("redfish %q: a name or a password is missing", r.URL)
	}
	if pin, err := hex.DecodeString(r.Pin); err != nil || len(pin) != 0 && len(pin) != sha256.Size {
		return fmt.Errorf("redfish %q: the pin is no SHA-256 in hexadecimal", r.URL)
	}
	return nil
}

// walk follows the links of one controller, each once, breadth first.
type walk struct {
	ctx  context.Context
	sink *collect.Sink
	from *Controller
	host string
	dir  string
	seen map[string]bool
	read int64

	mu   sync.Mutex
	leaf []byte // the pinned certificate
}

func (w *walk) run() {
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Controllers have certificates that they made themselves; who
		// answers is decided by the pin.
		InsecureSkipVerify:    true, //nolint:gosec // see verify
		VerifyPeerCertificate: w.verify,
	}, Proxy: nil, MaxResponseHeaderBytes: 64 << 10, ResponseHeaderTimeout: resourceTime}
	defer transport.CloseIdleConnections()
	g := &gate{inner: transport, host: w.host, session: w.from.Session}
	top := w.dir + rootPath + "/index.json"
	w.sink.At(top)
	client, err := w.connect(g)
	if err != nil {
		w.sink.Fail(top, cause(err))
		return
	}
	if w.from.Session {
		defer func() {
			client.Logout()
			if !g.closed {
				w.sink.Note(w.dir+"/session", evidence.Failed, "the session could not be closed; the controller ends it when it has been idle for long enough")
			}
		}()
	}
	w.follow(client)
}

// connect makes a client that reaches the controller through the gate only.
func (w *walk) connect(g *gate) (*gofish.APIClient, error) {
	return gofish.ConnectContext(w.ctx, gofish.ClientConfig{
		Endpoint: "https://" + w.host, Username: w.from.User, Password: w.from.Password, BasicAuth: !w.from.Session,
		NoModifyTransport: true, ReuseConnections: true,
		HTTPClient: &http.Client{
			Transport: g, Timeout: resourceTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	})
}

func (w *walk) follow(client *gofish.APIClient) {
	most := cmp.Or(w.from.resources, maxResources)
	queue := []string{rootPath}
	w.seen[rootPath] = true
	for n := 0; len(queue) > 0; n++ {
		next := queue[0]
		queue = queue[1:]
		name := w.dir + next + "/index.json"
		if w.ctx.Err() != nil {
			w.sink.Note(name, evidence.TimedOut, "not read: the time for controllers was over")
			continue
		}
		if n >= most {
			w.sink.Note(w.dir, evidence.Failed, fmt.Sprintf("more than %d resources; the rest was not read", most))
			return
		}
		w.sink.At(name)
		body, err := w.get(client, next)
		if err != nil {
			w.sink.Fail(name, cause(err))
			if n == 0 {
				return // nobody answers, or not as whom we know
			}
			continue
		}
		w.sink.Add(name, body)
		for _, l := range links(body) {
			if !w.seen[l] && !skipped(l) {
				w.seen[l] = true
				queue = append(queue, l)
			}
		}
	}
}

// cause is an error without the address, which the artefact's path has.
func cause(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

func (w *walk) get(client *gofish.APIClient, p string) ([]byte, error) {
	res, err := client.GetWithHeaders(p, map[string]string{"OData-Version": "4.0"})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	limit := min(maxResourceBytes, cmp.Or(w.from.bytes, maxRedfishBytes)-w.read)
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	w.read += int64(len(body))
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("exceeds the limit of %d bytes", limit)
	}
	return body, err
}

const notPinned = "is not the pinned"

// IsOtherCertificate reports whether the reason of an artefact that is missing is
// a certificate other than the pinned one.
func IsOtherCertificate(reason string) bool { return strings.Contains(reason, notPinned) }

// verify pins the certificate: the given one, or that of the first contact.
// TLS shows that the peer holds its key.
func (w *walk) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) == 0 {
		return errors.New("no certificate")
	}
	sum := sha256.Sum256(raw[0])
	got := hex.EncodeToString(sum[:])
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.from.Pin != "" && !strings.EqualFold(got, w.from.Pin):
		return fmt.Errorf("the certificate %s "+notPinned+" %s", got, strings.ToLower(w.from.Pin))
	case w.leaf != nil && !bytes.Equal(w.leaf, raw[0]):
		return errors.New("the certificate changed during the scan")
	case w.leaf == nil:
		w.leaf = bytes.Clone(raw[0])
		w.sink.Add(w.dir+"/certificate.der", w.leaf)
		if w.from.Pin == "" && w.from.Contact != nil {
			w.from.Contact(w.host, got)
		}
	}
	return nil
}
