package alert

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// Config says who is told, and of what.
type Config struct {
	URL   string `yaml:"url"` // of the fleet's pages, for links
	Sinks []Sink `yaml:"sinks"`
}

// Sink is one place that alerts go to. Exactly one of its kinds is given.
type Sink struct {
	Name         string            `yaml:"name"`
	Webhook      *Webhook          `yaml:"webhook"`
	Alertmanager *Alertmanager     `yaml:"alertmanager"`
	Email        *Email            `yaml:"email"`
	Syslog       *Syslog           `yaml:"syslog"`
	Severity     *finding.Severity `yaml:"severity"` // from which on; medium when not given
	Sites        []string          `yaml:"sites"`    // all when not given
	Profiles     []string          `yaml:"profiles"`
	Group        *time.Duration    `yaml:"group"`  // how long things that are alike are gathered
	Remind       *time.Duration    `yaml:"remind"` // of what still stands; never when not given
	Quiet        *Quiet            `yaml:"quiet"`
}

// Quiet are hours in which what is below a severity waits.
type Quiet struct {
	From  string            `yaml:"from"` // 22:00
	To    string            `yaml:"to"`
	Zone  string            `yaml:"zone"`  // Europe/Amsterdam; UTC when not given
	Below *finding.Severity `yaml:"below"` // high when not given
}

// Secret is read from a file or from a variable, and never written.
type Secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

// UnmarshalYAML reads where a secret is, and repeats nothing of what stands there
// instead: it may be the secret.
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	bad := fmt.Errorf("line %d: a secret is not written here: want {file: ...} or {env: ...}", n.Line)
	if n.Kind != yaml.MappingNode {
		return bad
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case v.Kind != yaml.ScalarNode:
			return bad
		case k.Value == "file":
			s.File = v.Value
		case k.Value == "env":
			s.Env = v.Value
		default:
			return bad
		}
	}
	return nil
}

// Webhook posts JSON that is signed as the Standard Webhooks specification says.
type Webhook struct {
	URL      string `yaml:"url"`
	Secret   Secret `yaml:"secret"` // whsec_ and base64
	CAFile   string `yaml:"ca-file"`
	Insecure bool   `yaml:"insecure"` // allows http:// to other machines
}

// Alertmanager posts to its API, version 2.
type Alertmanager struct {
	URL      string `yaml:"url"`
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
	Token    Secret `yaml:"token"`
	CAFile   string `yaml:"ca-file"`
	Insecure bool   `yaml:"insecure"`
}

// Email sends mail.
type Email struct {
	Server   string   `yaml:"server"` // host:port
	TLS      string   `yaml:"tls"`    // starttls (when not given), tls or none
	Username string   `yaml:"username"`
	Password Secret   `yaml:"password"`
	CAFile   string   `yaml:"ca-file"`
	From     string   `yaml:"from"`
	To       []string `yaml:"to"`
	Insecure bool     `yaml:"insecure"`
}

// Syslog sends RFC 5424 messages whose text is OCSF JSON.
type Syslog struct {
	URL      string `yaml:"url"`      // tls://host:6514, tcp://host:601 or udp://host:514
	Facility *int   `yaml:"facility"` // 0 to 23; 13, log audit, when not given
	CAFile   string `yaml:"ca-file"`
	Insecure bool   `yaml:"insecure"`
}

const (
	// MaxConfig bounds a file of alerts, in bytes.
	MaxConfig = 1 << 20

	maxSinks     = 20
	defaultGroup = 30 * time.Second
	resend       = 15 * time.Minute // Alertmanager forgets alerts when it is started again
)

// Parse reads a configuration strictly: what it does not know is an error, with
// its line. It opens no file and no secret.
func Parse(b []byte) (*Config, error) {
	if len(b) > MaxConfig {
		return nil, fmt.Errorf("alerts: %d bytes, more than %d", len(b), MaxConfig)
	}
	c := &Config{}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); errors.Is(err, io.EOF) {
		return nil, errors.New("alerts: the file is empty")
	} else if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("alerts: more than one document")
	}
	switch {
	case len(c.Sinks) == 0:
		return nil, errors.New("alerts: no sinks, so that nobody would be told")
	case len(c.Sinks) > maxSinks:
		return nil, fmt.Errorf("alerts: %d sinks, more than %d", len(c.Sinks), maxSinks)
	case c.URL != "":
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
			return nil, errors.New("alerts: url: want https://host of the fleet's pages")
		}
	}
	names := map[string]bool{}
	for i := range c.Sinks {
		s := &c.Sinks[i]
		err := s.check()
		if err == nil && names[s.Name] {
			err = errors.New("another sink has this name")
		}
		if err != nil {
			return nil, fmt.Errorf("alerts: line %d: sink %d (%s): %w", lineOf(b, i), i+1, clean(s.Name, 40), err)
		}
		names[s.Name] = true
	}
	return c, nil
}

// lineOf finds where a sink begins.
func lineOf(b []byte, sink int) int {
	var doc yaml.Node
	if yaml.Unmarshal(b, &doc) != nil || len(doc.Content) == 0 {
		return 0
	}
	top := doc.Content[0].Content
	for i := 0; i+1 < len(top); i += 2 {
		if top[i].Value == "sinks" && sink < len(top[i+1].Content) {
			return top[i+1].Content[sink].Line
		}
	}
	return 0
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func (s *Sink) check() error {
	if !nameForm.MatchString(s.Name) {
		return errors.New("name: want up to 40 small letters, digits and '-'")
	}
	var kinds []func() error
	if s.Webhook != nil {
		kinds = append(kinds, s.Webhook.check)
	}
	if s.Alertmanager != nil {
		kinds = append(kinds, s.Alertmanager.check)
	}
	if s.Email != nil {
		kinds = append(kinds, s.Email.check)
	}
	if s.Syslog != nil {
		kinds = append(kinds, s.Syslog.check)
	}
	if len(kinds) != 1 {
		return errors.New("want one of webhook, alertmanager, email and syslog")
	}
	if err := kinds[0](); err != nil {
		return err
	}
	gathers := s.Webhook != nil || s.Email != nil
	switch {
	case s.Severity != nil && *s.Severity < finding.Medium:
		return errors.New("severity: nothing below medium is an alert")
	case s.Group != nil && !gathers:
		return errors.New("group: a log takes each alert, and Alertmanager groups by itself")
	case s.Group != nil && (*s.Group < 0 || *s.Group > 24*time.Hour):
		return errors.New("group: want 0s to 24h")
	case s.Remind != nil && (*s.Remind < time.Minute || *s.Remind > 366*24*time.Hour):
		return errors.New("remind: want 1m to 8784h")
	case s.Quiet != nil && !gathers:
		return errors.New("quiet: a log takes alerts at any hour, and Alertmanager has mute times of its own")
	case s.Quiet != nil:
		_, err := s.Quiet.parse()
		return err
	}
	return nil
}

func (w *Webhook) check() error {
	if err := checkURL("webhook", w.URL, w.Insecure); err != nil {
		return err
	}
	return w.Secret.check("webhook: secret", true)
}

func (a *Alertmanager) check() error {
	if err := checkURL("alertmanager", a.URL, a.Insecure); err != nil {
		return err
	}
	if a.Username != "" && a.Token != (Secret{}) {
		return errors.New("alertmanager: a username or a token, not both")
	}
	return errors.Join(a.Password.check("alertmanager: password", a.Username != ""), a.Token.check("alertmanager: token", false))
}

func (e *Email) check() error {
	host, _, err := net.SplitHostPort(e.Server)
	switch {
	case err != nil || host == "":
		return errors.New("email: server: want host:port")
	case !slices.Contains([]string{"", "starttls", "tls", "none"}, e.TLS):
		return errors.New("email: tls: want starttls, tls or none")
	case e.TLS == "none" && !loopback(host) && !e.Insecure:
		return errors.New("email: tls: none is for a server on this machine; say insecure: true to send in the clear")
	case e.TLS == "none" && e.Username != "" && !loopback(host):
		return errors.New("email: a password is not sent in the clear")
	case len(e.To) == 0 || len(e.To) > 50:
		return errors.New("email: to: want 1 to 50 addresses")
	}
	for _, a := range append([]string{e.From}, e.To...) {
		if _, err := mail.ParseAddress(a); err != nil || strings.ContainsFunc(a, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("email: %.60q is no address", a)
		}
	}
	return e.Password.check("email: password", e.Username != "")
}

func (s *Syslog) check() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || !slices.Contains([]string{"udp", "tcp", "tls"}, u.Scheme) || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.User != nil || u.RawQuery != "":
		return errors.New("syslog: url: want tls://host:port, tcp://host:port or udp://host:port")
	case u.Scheme != "tls" && !loopback(u.Hostname()) && !s.Insecure:
		return errors.New("syslog: url: want tls:// to another machine; say insecure: true to send in the clear")
	case s.Facility != nil && (*s.Facility < 0 || *s.Facility > 23):
		return errors.New("syslog: facility: want 0 to 23")
	}
	return nil
}

// check wants a secret from one place, where one is needed.
func (s Secret) check(what string, needed bool) error {
	switch {
	case s.File != "" && s.Env != "":
		return fmt.Errorf("%s: from a file or from a variable, not both", what)
	case s == Secret{} && needed:
		return fmt.Errorf("%s: want {file: ...} or {env: ...}", what)
	}
	return nil
}

// checkURL does not repeat the address: one of a webhook may be a secret.
func checkURL(what, raw string, insecure bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return fmt.Errorf("%s: url: want https://host", what)
	case u.User != nil:
		return fmt.Errorf("%s: url: no user and no password in it", what)
	case u.Scheme == "http" && !loopback(u.Hostname()) && !insecure:
		return fmt.Errorf("%s: url: want https:// to another machine; say insecure: true to send in the clear", what)
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// hours are quiet hours, in minutes of the day.
type hours struct {
	from, to int
	zone     *time.Location
	below    finding.Severity
}

func (q *Quiet) parse() (*hours, error) {
	h := &hours{zone: time.UTC, below: finding.High}
	for text, to := range map[*string]*int{&q.From: &h.from, &q.To: &h.to} {
		t, err := time.Parse("15:04", *text)
		if err != nil {
			return nil, errors.New("quiet: from and to: want a time of the day such as 22:00")
		}
		*to = t.Hour()*60 + t.Minute()
	}
	if h.from == h.to {
		return nil, errors.New("quiet: from and to are the same, so that nothing would ever be told")
	}
	if q.Zone != "" {
		z, err := time.LoadLocation(q.Zone)
		if err != nil || q.Zone == "Local" {
			return nil, fmt.Errorf("quiet: zone %.40q is not known here", q.Zone)
		}
		h.zone = z
	}
	if q.Below != nil {
		h.below = *q.Below
	}
	return h, nil
}

// until is when something may be told that could be told at a time.
func (h *hours) until(at time.Time, s finding.Severity) time.Time {
	if h == nil || s >= h.below {
		return at
	}
	l := at.In(h.zone)
	now := l.Hour()*60 + l.Minute()
	quiet := now >= h.from && now < h.to
	days := 0
	if h.from > h.to {
		quiet = now >= h.from || now < h.to
		if now >= h.from {
			days = 1
		}
	}
	if !quiet {
		return at
	}
	end := time.Date(l.Year(), l.Month(), l.Day()+days, h.to/60, h.to%60, 0, 0, h.zone).UTC()
	if !end.After(at) { // clocks were set back
		return at
	}
	return end
}

// routes reports whether a sink is about a machine.
func (s *sink) routes(h *fleet.Host) bool {
	return (len(s.sites) == 0 || slices.Contains(s.sites, h.Site)) && (len(s.profiles) == 0 || slices.Contains(s.profiles, h.Profile))
}
