package collect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assay-hw/assay/evidence"
)

// Redfish is a management controller that is asked over the network (DMTF
// DSP0266). Only GET requests are sent, only to this host, and no redirection
// is followed.
type Redfish struct {
	URL            string // https://host[:port], with or without /redfish/v1
	User, Password string // basic authentication; empty for none
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
	redfishRoot      = "/redfish/v1"
)

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

func (r *Redfish) check() error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil:
		return fmt.Errorf("redfish %q: %w", r.URL, err)
	case u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "":
		return fmt.Errorf("redfish %q: want https://HOST, without name or password in it", r.URL)
	case strings.Trim(u.Path, "/") != "" && path.Clean("/"+u.Path) != redfishRoot:
		return fmt.Errorf("redfish %q: the path is not %s", r.URL, redfishRoot)
	}
	if pin, err := hex.DecodeString(r.Pin); err != nil || len(pin) != 0 && len(pin) != sha256.Size {
		return fmt.Errorf("redfish %q: the pin is no SHA-256 in hexadecimal", r.URL)
	}
	return nil
}

// redfish asks every controller that the operator named.
func redfish(t *task) {
	for i := range t.opt.Redfish {
		r := &t.opt.Redfish[i]
		u, err := url.Parse(r.URL)
		if err != nil {
			continue // Options.Check refused it
		}
		w := &walk{task: t, from: r, host: u.Host, dir: "redfish/" + strings.ReplaceAll(u.Host, ":", "_"), seen: map[string]bool{}}
		w.run()
	}
}

// walk follows the links of one controller, each once, breadth first.
type walk struct {
	task *task
	from *Redfish
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
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	most := cmp.Or(w.from.resources, maxResources)
	queue := []string{redfishRoot}
	w.seen[redfishRoot] = true
	for n := 0; len(queue) > 0; n++ {
		next := queue[0]
		queue = queue[1:]
		name := w.dir + next + "/index.json"
		if w.task.over(name) {
			continue
		}
		if n >= most {
			w.task.note(w.dir, evidence.Failed, fmt.Sprintf("more than %d resources; the rest was not read", most))
			return
		}
		w.task.at(name)
		body, err := w.get(client, next)
		if err != nil {
			w.task.fail(name, err)
			if n == 0 {
				return // nobody answers, or not as whom we know
			}
			continue
		}
		w.task.add(name, body)
		for _, l := range links(body) {
			if !w.seen[l] && !skipped(l) {
				w.seen[l] = true
				queue = append(queue, l)
			}
		}
	}
}

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
		return fmt.Errorf("the certificate %s is not the pinned %s", got, strings.ToLower(w.from.Pin))
	case w.leaf != nil && !bytes.Equal(w.leaf, raw[0]):
		return errors.New("the certificate changed during the scan")
	case w.leaf == nil:
		w.leaf = bytes.Clone(raw[0])
		w.task.add(w.dir+"/certificate.der", w.leaf)
		if w.from.Pin == "" && w.from.Contact != nil {
			w.from.Contact(w.host, got)
		}
	}
	return nil
}

func (w *walk) get(client *http.Client, p string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(w.task.ctx, resourceTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "https", Host: w.host, Path: p}).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("OData-Version", "4.0")
	if w.from.User != "" {
		req.SetBasicAuth(w.from.User, w.from.Password)
	}
	res, err := client.Do(req)
	if err != nil {
		// The URL in the error repeats the artefact's path.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if err := statusError(res.StatusCode); err != nil {
		return nil, err
	}
	total := cmp.Or(w.from.bytes, maxRedfishBytes)
	body, err := readAll(ctx, res.Body, min(maxResourceBytes, total-w.read))
	w.read += int64(len(body))
	return body, err
}

// statusError turns a status into an error with the right kind.
func statusError(code int) error {
	switch {
	case code == http.StatusOK:
		return nil
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("status %d: %w", code, errDenied)
	case code == http.StatusNotFound:
		return fmt.Errorf("status %d: %w", code, errGone)
	case code >= 300 && code < 400:
		return fmt.Errorf("status %d: redirections are not followed", code)
	}
	return fmt.Errorf("status %d", code)
}

// links lists the local resources that a document names with @odata.id, in
// the order of its text. This is all that the collector looks at in it.
func links(doc []byte) []string {
	var out []string
	dec := json.NewDecoder(bytes.NewReader(doc))
	isLink := false
	for {
		tok, err := dec.Token()
		if err != nil {
			return out
		}
		s, ok := tok.(string)
		if ok && isLink {
			if l, good := local(s); good {
				out = append(out, l)
			}
		}
		isLink = ok && !isLink && s == "@odata.id"
	}
}

// local accepts a plain path below the service root. Fragments name a part of
// a resource that is read anyhow.
func local(s string) (string, bool) {
	s, _, _ = strings.Cut(s, "#")
	s = strings.TrimSuffix(s, "/")
	if len(s) > 512 || s != path.Clean(s) || !strings.HasPrefix(s, redfishRoot+"/") || strings.ContainsAny(s, "?%\\") || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", false
	}
	return s, true
}
