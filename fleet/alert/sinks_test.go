package alert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	syslogparser "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/santhosh-tekuri/jsonschema/v6"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// failing is a machine that fails, with a name that tries to be more than a name.
func failing() Event {
	high, _ := standing([]fleet.Open{open(finding.UnexpectedComponent, "pci:0000:09:00.0", finding.Critical), open(finding.MissingComponent, "dimm:P1-A1", finding.High)})
	return Event{
		Kind: Worse, Subject: "h-1", Name: clean("node-1\r\nBcc: eve@example.org\u202e", 100), Site: "ams", Profile: "p1", Board: "Example R1", Was: fleet.Pass, State: fleet.Fail,
		Severity: finding.Critical, Since: start, At: start, Findings: high,
	}
}

func recovered() Event {
	e := failing()
	e.Kind, e.Was, e.State, e.At, e.Findings = Recovered, fleet.Fail, fleet.Pass, start.Add(time.Hour), nil
	return e
}

func messageOf(id string, events ...Event) *message {
	return &message{id: id, sent: time.Now(), events: events, total: len(events), url: "https://assay.example"}
}

func secretFile(t *testing.T, text string) Secret {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(name, []byte(text+"\n"), 0o600))
	return Secret{File: name}
}

var hookSecret = "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))

// receiver is a webhook's end that verifies with the specification's own library.
type receiver struct {
	url string

	mu     sync.Mutex
	ids    []string
	bodies []payload
	fail   int  // answers to refuse with 503
	clock  bool // the time of the attempt has to be now
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(hookSecret)
	require.NoError(t, err)
	r := &receiver{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = wh.VerifyIgnoringTimestamp(body, req.Header)
		}
		if err == nil && r.clock { // other tests live at another time
			err = wh.Verify(body, req.Header)
		}
		var p payload
		if err == nil {
			err = json.Unmarshal(body, &p)
		}
		if err != nil {
			t.Errorf("webhook: %v", err)
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.fail > 0 {
			r.fail--
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		r.ids, r.bodies = append(r.ids, req.Header.Get("webhook-id")), append(r.bodies, p)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *receiver) got() []payload {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]payload{}, r.bodies...)
}

func TestWebhookIsVerifiedByTheStandardLibrary(t *testing.T) {
	r := newReceiver(t)
	r.clock = true
	s, err := (&Webhook{URL: r.url, Secret: secretFile(t, hookSecret)}).open("1.0")
	require.NoError(t, err)
	require.NoError(t, s.send(t.Context(), messageOf("alert-1", failing())))
	require.NoError(t, s.send(t.Context(), messageOf("alert-1", failing())), "sent again")
	require.Equal(t, []string{"alert-1", "alert-1"}, r.ids, "under the same id, so that it counts once")
	p := r.bodies[0]
	require.Equal(t, "assay.fleet.worse", p.Type)
	require.Equal(t, 1, p.Data.Total)
	require.Equal(t, fleet.Fail, p.Data.Events[0].State)
	require.Len(t, p.Data.Events[0].Findings, 2)
	require.NotContains(t, p.Data.Title, "\n")
	require.NotContains(t, p.Data.Title, "\u202e")
}

func TestWebhookSecrets(t *testing.T) {
	for name, text := range map[string]string{"no prefix": strings.TrimPrefix(hookSecret, "whsec_"), "too short": "whsec_YWJj", "no base64": "whsec_!!!!"} {
		_, err := (&Webhook{URL: "https://hooks.example", Secret: secretFile(t, text)}).open("1.0")
		require.ErrorContains(t, err, "whsec_", name)
		require.NotContains(t, err.Error(), strings.TrimPrefix(text, "whsec_"), "%s: a secret in an error", name)
	}
	_, err := (&Webhook{URL: "https://hooks.example", Secret: Secret{Env: "ASSAY_TEST_UNSET"}}).open("1.0")
	require.ErrorContains(t, err, "ASSAY_TEST_UNSET is not set")
	t.Setenv("ASSAY_TEST_SECRET", hookSecret)
	_, err = (&Webhook{URL: "https://hooks.example", Secret: Secret{Env: "ASSAY_TEST_SECRET"}}).open("1.0")
	require.NoError(t, err)
}

// A sink that answers badly is a failed attempt, and nothing of it is believed,
// followed or repeated.
func TestBadAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	for path, answer := range map[string]http.HandlerFunc{
		"/token-in-path/redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"/token-in-path/error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.Copy(w, r.Body)
		},
		"/token-in-path/broken": func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, "what\r\n")
				_ = c.Close()
			}
		},
	} {
		srv := httptest.NewServer(answer)
		s, err := (&Webhook{URL: srv.URL + path, Secret: secretFile(t, hookSecret)}).open("1.0")
		require.NoError(t, err)
		err = s.send(t.Context(), messageOf("alert-1", failing()))
		require.Error(t, err, path)
		require.NotContains(t, err.Error(), "token-in-path", "the address may be a secret")
		require.NotContains(t, err.Error(), "node-1", "what was answered")
		srv.Close()
	}
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 1<<16))
		}
	}))
	t.Cleanup(endless.Close)
	s, err := (&Webhook{URL: endless.URL, Secret: secretFile(t, hookSecret)}).open("1.0")
	require.NoError(t, err)
	require.NoError(t, s.send(t.Context(), messageOf("alert-1", failing())), "an endless answer is read for a while only")
}

func TestWebhookOverTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it
	t.Cleanup(srv.Close)
	conf := &Webhook{URL: srv.URL, Secret: secretFile(t, hookSecret)}
	s, err := conf.open("1.0")
	require.NoError(t, err)
	require.Error(t, s.send(t.Context(), messageOf("a", failing())), "a certificate that nobody vouches for")
	conf.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(conf.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	s, err = conf.open("1.0")
	require.NoError(t, err)
	require.NoError(t, s.send(t.Context(), messageOf("a", failing())))
}

// ownTLS is a certificate for this machine, and the file that vouches for it.
func ownTLS(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// post is a mail server that takes mail after a password.
type post struct {
	mu       sync.Mutex
	password string
	to       []string
	mails    [][]byte
}

type postSession struct {
	*post
	known bool
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &postSession{post: p}, nil }
func (s *postSession) Reset()                               {}
func (s *postSession) Logout() error                        { return nil }
func (s *postSession) AuthMechanisms() []string             { return []string{sasl.Plain} }
func (s *postSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "assay" || password != s.password {
			return smtp.ErrAuthFailed
		}
		s.known = true
		return nil
	}), nil
}

func (s *postSession) Mail(string, *smtp.MailOptions) error {
	if !s.known {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *postSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, to)
	return nil
}

func (s *postSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, raw)
	return err
}

func newPost(t *testing.T, implicit bool) (p *post, address, ca string) {
	t.Helper()
	p = &post{password: "a long password"}
	srv := smtp.NewServer(p)
	srv.Domain, srv.ErrorLog = "localhost", quiet{}
	cfg, ca := ownTLS(t)
	srv.TLSConfig = cfg
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = l.Addr().String()
	if implicit {
		l = tls.NewListener(l, cfg)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		require.NoError(t, <-done)
	})
	return p, address, ca
}

// quiet is for what a server logs of clients that were meant to fail.
type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func TestEmail(t *testing.T) {
	for _, kind := range []string{"starttls", "tls"} {
		t.Run(kind, func(t *testing.T) {
			p, address, ca := newPost(t, kind == "tls")
			conf := &Email{Server: address, TLS: kind, Username: "assay", Password: secretFile(t, p.password), CAFile: ca, From: "Assay <assay@example.org>", To: []string{"ops@example.org", "duty@example.org"}}
			require.NoError(t, conf.check())
			s, err := conf.open()
			require.NoError(t, err)
			require.NoError(t, s.send(t.Context(), messageOf("alert-1", failing())))
			require.Equal(t, []string{"ops@example.org", "duty@example.org"}, p.to, "a name of a machine adds nobody")
			m, err := mail.ReadMessage(bytes.NewReader(p.mails[0]))
			require.NoError(t, err)
			require.Equal(t, "<alert-1@assay.invalid>", m.Header.Get("Message-Id"))
			require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
			require.Empty(t, m.Header.Get("Bcc"))
			require.Contains(t, m.Header.Get("Content-Type"), "text/plain")
			at, err := m.Header.Date()
			require.NoError(t, err)
			require.True(t, start.Equal(at), "%s", at)
			require.Len(t, m.Header["Subject"], 1)
			body, err := io.ReadAll(m.Body)
			require.NoError(t, err)
			require.Contains(t, string(body), "HW-001")
			require.Contains(t, string(body), "assay.example/machines/h-1")

			conf.CAFile = ""
			s, err = conf.open()
			require.NoError(t, err)
			require.Error(t, s.send(t.Context(), messageOf("alert-2", failing())), "a server that nobody vouches for")
			conf.CAFile, conf.Password = ca, secretFile(t, "another password")
			s, err = conf.open()
			require.NoError(t, err)
			err = s.send(t.Context(), messageOf("alert-2", failing()))
			require.Error(t, err)
			require.NotContains(t, err.Error(), "another password")
			require.Len(t, p.mails, 1)
		})
	}
}

// A mail server that offers no TLS gets no mail and no password.
func TestEmailIsNotSentInTheClear(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	said := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			said <- err.Error()
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "220 mx ESMTP\r\n")
		var all strings.Builder
		b := make([]byte, 1024)
		for {
			n, err := c.Read(b)
			all.Write(b[:n])
			if err != nil {
				said <- all.String()
				return
			}
			_, _ = io.WriteString(c, "250-mx\r\n250 AUTH PLAIN\r\n")
		}
	}()
	s, err := (&Email{Server: l.Addr().String(), Username: "assay", Password: secretFile(t, "a long password"), From: "assay@example.org", To: []string{"ops@example.org"}}).open()
	require.NoError(t, err)
	require.Error(t, s.send(t.Context(), messageOf("alert-1", failing())))
	require.NoError(t, l.Close())
	heard := <-said
	require.Contains(t, heard, "EHLO")
	require.NotContains(t, heard, "AUTH")
	require.NotContains(t, heard, "MAIL")
}

// A mail server that never comes to an end takes no longer than an attempt may.
func TestEmailToAServerThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, c) // says nothing, and sees the other end close
		}
		gone <- err
	}()
	s, err := (&Email{Server: l.Addr().String(), From: "assay@example.org", To: []string{"ops@example.org"}}).open()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.send(ctx, messageOf("alert-1", failing())) }()
	cancel()
	require.Error(t, <-done)
	require.NoError(t, l.Close())
	<-gone
}

// ocsfSchema is what the schema says of the class.
func ocsfSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", "ocsf-detection-finding.schema.json"))
	require.NoError(t, err)
	return s
}

func checkOCSF(t *testing.T, text string) detection {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, ocsfSchema(t).Validate(v))
	var d detection
	require.NoError(t, json.Unmarshal([]byte(text), &d))
	require.Equal(t, d.ClassUID*100+d.ActivityID, d.TypeUID)
	return d
}

func TestSyslogOverTCPAndTLS(t *testing.T) {
	for _, scheme := range []string{"tcp", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			conf := &Syslog{URL: scheme + "://" + l.Addr().String()}
			if scheme == "tls" {
				var cfg *tls.Config
				cfg, conf.CAFile = ownTLS(t)
				l = tls.NewListener(l, cfg)
			}
			t.Cleanup(func() { _ = l.Close() })
			lines := make(chan *syslogparser.Result, 10)
			go func() {
				defer close(lines)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				octetcounting.NewParser(syslogparser.WithListener(func(r *syslogparser.Result) { lines <- r })).Parse(c)
			}()
			require.NoError(t, conf.check())
			s, err := conf.open("1.0")
			require.NoError(t, err)
			require.NoError(t, s.send(t.Context(), messageOf("alert-1", failing(), recovered())))
			var got []detection
			for r := range lines {
				if errors.Is(r.Error, io.EOF) {
					break
				}
				require.NoError(t, r.Error)
				m := r.Message.(*rfc5424.SyslogMessage)
				require.EqualValues(t, logAudit, *m.Facility)
				require.Equal(t, "assay", *m.Appname)
				got = append(got, checkOCSF(t, *m.Message))
			}
			require.Len(t, got, 2)
			require.Equal(t, 5, got[0].SeverityID)
			require.Equal(t, created, got[0].ActivityID)
			require.Equal(t, closed, got[1].ActivityID)
			require.Equal(t, got[0].FindingInfo.UID, got[1].FindingInfo.UID, "what ends is what began")
		})
	}
}

func TestSyslogOverUDP(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer c.Close()
	s, err := (&Syslog{URL: "udp://" + c.LocalAddr().String()}).open("1.0")
	require.NoError(t, err)
	e := failing()
	for i := range 40 {
		f := e.Findings[0]
		f.Fingerprint = fmt.Sprint(i)
		f.Title = strings.Repeat("é", 50)
		e.Findings = append(e.Findings, f)
	}
	require.NoError(t, s.send(t.Context(), messageOf("alert-1", e)))
	b := make([]byte, 1<<16)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	n, _, err := c.ReadFrom(b)
	require.NoError(t, err)
	require.LessOrEqual(t, n, maxDatagram)
	m, err := rfc5424.NewParser().Parse(b[:n])
	require.NoError(t, err)
	d := checkOCSF(t, *m.(*rfc5424.SyslogMessage).Message)
	require.NotEmpty(t, d.Evidences)
	require.Less(t, len(d.Evidences), 40)
}

// A collector that is not there, or goes away, is a failed attempt.
func TestSyslogWithoutAReceiver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, err := (&Syslog{URL: "tcp://" + l.Addr().String()}).open("1.0")
	require.NoError(t, err)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_ = c.(*net.TCPConn).SetLinger(0) // breaks the connection
			_ = c.Close()
		}
	}()
	require.Error(t, s.send(t.Context(), messageOf("alert-1", failing())))
	require.NoError(t, l.Close())
	require.Error(t, s.send(t.Context(), messageOf("alert-1", failing())))
}

func TestEachEventFitsTheSchema(t *testing.T) {
	reminder, refused, test := failing(), Event{Kind: Refused, Subject: "refused-1", Name: "node-1", Severity: finding.Critical, Since: start, At: start, Detail: "FL-004"}, Event{Kind: Test, Subject: "test", Since: start, At: start}
	reminder.Kind, reminder.At = Reminder, start.AddDate(0, 0, 1)
	for want, e := range map[int]Event{created: failing(), updated: reminder, closed: recovered()} {
		text, err := json.Marshal(ocsf(messageOf("alert-1", e), &e, "1.0"))
		require.NoError(t, err)
		d := checkOCSF(t, string(text))
		require.Equal(t, want, d.ActivityID)
		require.Equal(t, want != closed, d.IsAlert)
	}
	for _, e := range []Event{refused, test} {
		text, err := json.Marshal(ocsf(messageOf("alert-1", e), &e, "1.0"))
		require.NoError(t, err)
		checkOCSF(t, string(text))
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"class_uid": 2004}`))
	require.NoError(t, err)
	require.Error(t, ocsfSchema(t).Validate(v), "the schema refuses what lacks something")
}

func TestTexts(t *testing.T) {
	many := messageOf("alert-1")
	for i := range 120 {
		e := failing()
		e.Subject, e.Name = fmt.Sprint("h-", i), fmt.Sprint("node-", i)
		many.events = append(many.events, e)
	}
	many.total = 312
	require.Equal(t, "312 machines: fail: HW-001 "+failing().Findings[0].Title, many.title())
	text := many.text()
	require.Contains(t, text, "node-49")
	require.NotContains(t, text, "node-50")
	require.Contains(t, text, "and 262 more machines")
	r := recovered()
	require.Contains(t, r.line(), "pass again, was fail since 2026-03-01 08:00 UTC")
	require.Equal(t, "a\uFFFDb", clean("a\u2028b", 10))
	require.Equal(t, strings.Repeat("é", 10)+"...", clean(strings.Repeat("é", 20), 10))
	require.NotContains(t, clean(string([]byte{'a', 0xff, 0}), 10), "\x00")
}
