// Package alert tells somebody what moved in a fleet: by webhook, by e-mail, to
// Alertmanager or to a log. It decides in the transaction that stores a result what
// each sink is to be told, and jobs of the store tell it later: nothing that was
// stored is not told, and nothing is told that was not stored.
//
// A sink hears of each thing once, until it is over, and then that it is over. It
// does not learn more than a summary: what proves a finding stays with the fleet.
// That nobody was told of a machine does not mean that it is good.
package alert

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/outbox"
)

// Alerts tells the sinks of one configuration. A nil *Alerts tells nobody.
type Alerts struct {
	// Count is called for each attempt: "sent", "failed" or "given up".
	Count func(sink, outcome string)

	sinks  []*sink
	url    string
	now    func() time.Time
	random io.Reader
}

// sink is one that was opened.
type sink struct {
	name            string
	via             sender
	severity        finding.Severity
	sites, profiles []string
	group, remind   time.Duration
	people          bool // read it; others take each event, in order
	quiet           *hours
}

// sender tells a sink. An error means that it may not have heard, and is tried
// again with the same id.
type sender interface {
	send(ctx context.Context, m *message) error
}

// New opens what a configuration names: secrets and certificates. Version is that
// of the program, for those who are told.
func New(c *Config, version string, now func() time.Time) (*Alerts, error) {
	a := &Alerts{url: c.URL, now: now, random: rand.Reader}
	for i := range c.Sinks {
		conf := &c.Sinks[i]
		s := &sink{name: conf.Name, severity: finding.Medium, sites: conf.Sites, profiles: conf.Profiles}
		if conf.Severity != nil {
			s.severity = *conf.Severity
		}
		if s.people = conf.Webhook != nil || conf.Email != nil; s.people {
			s.group = defaultGroup
		}
		if conf.Group != nil {
			s.group = *conf.Group
		}
		if conf.Alertmanager != nil {
			s.remind = resend
		}
		if conf.Remind != nil {
			s.remind = *conf.Remind
		}
		var err error
		if conf.Quiet != nil {
			s.quiet, err = conf.Quiet.parse()
		}
		if err == nil {
			s.via, err = conf.open(version)
		}
		if err != nil {
			return nil, fmt.Errorf("alerts: sink %s: %w", s.name, err)
		}
		a.sinks = append(a.sinks, s)
	}
	return a, nil
}

func (s *Sink) open(version string) (sender, error) {
	switch {
	case s.Webhook != nil:
		return s.Webhook.open(version)
	case s.Alertmanager != nil:
		return s.Alertmanager.open(version)
	case s.Email != nil:
		return s.Email.open()
	}
	return s.Syslog.open(version)
}

const maxSecret = 4096

// read gets a secret. Errors name its place and never what is in it.
func (s Secret) read() (string, error) {
	var raw string
	switch {
	case s.Env != "":
		raw = os.Getenv(s.Env)
		if raw == "" {
			return "", fmt.Errorf("the variable %s is not set", s.Env)
		}
	case s.File != "":
		f, err := os.Open(s.File)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
		if err != nil {
			return "", fmt.Errorf("%s: %w", s.File, err)
		}
		raw = string(b)
		if strings.TrimSpace(raw) == "" || len(raw) > maxSecret {
			return "", fmt.Errorf("%s: empty, or more than %d bytes", s.File, maxSecret)
		}
	}
	return strings.TrimSpace(raw), nil
}

// roots are the certificates that a file brings; nil are those of the system.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("%s: no certificates in it", file)
	}
	return pool, nil
}

// Changed has the sinks told of a machine, when there is something to tell. It is
// for the transaction that stores the change.
func (a *Alerts) Changed(tx fleet.Tx, c Change) error {
	if a == nil {
		return nil
	}
	entries, err := tx.Told(c.Host.ID)
	if err != nil {
		return err
	}
	for _, s := range a.sinks {
		before, err := held(entries, s.name)
		if err != nil {
			return err
		}
		e, after := s.decide(before, c)
		switch {
		case after == nil && before != nil:
			err = tx.DropTold(s.name, c.Host.ID)
		case after != before:
			err = putTold(tx, s.name, c.Host.ID, after)
		}
		if err == nil && e != nil {
			err = a.put(tx, s, *e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func held(entries []outbox.Entry, name string) (*told, error) {
	for _, e := range entries {
		if e.Sink == name {
			t := &told{}
			if err := json.Unmarshal(e.Doc, t); err != nil {
				return nil, fmt.Errorf("alerts: what %s was told of %s: %w", name, e.Subject, err)
			}
			return t, nil
		}
	}
	return nil, nil
}

func putTold(tx fleet.Tx, sink, subject string, t *told) error {
	doc, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	return tx.PutTold(outbox.Entry{Sink: sink, Subject: subject, At: t.At, Doc: doc})
}

// remember is how long the same refusal is not told again.
const remember = 24 * time.Hour

// refusals is where a sink's refusals are remembered. No sink has such a name.
func refusals(sink string) string { return sink + ":refused" }

// Refused has the sinks told of somebody who wanted to be a machine that is known.
// The same again within a day is the same alert.
func (a *Alerts) Refused(tx fleet.Tx, h *fleet.Host, detail string, at time.Time) error {
	if a == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{h.Identity.EKSHA256, h.Identity.Manufacturer, h.Identity.Serial, h.Identity.UUID, detail}, "\x00")))
	e := Event{
		Kind: Refused, Subject: "refused-" + hex.EncodeToString(sum[:8]), Name: clean(h.Name, 100), Site: clean(h.Site, 100), Severity: finding.Critical,
		Since: at, At: at, Detail: clean(detail, 300),
	}
	entries, err := tx.Told(e.Subject)
	if err != nil {
		return err
	}
	for _, s := range a.sinks {
		before, err := held(entries, refusals(s.name))
		if err != nil {
			return err
		}
		if before != nil && at.Sub(before.At) < remember && !before.Lost || len(s.sites) > 0 && !s.routes(h) {
			continue
		}
		if err := errors.Join(putTold(tx, refusals(s.name), e.Subject, &told{Event: e}), a.put(tx, s, e)); err != nil {
			return err
		}
	}
	return nil
}

// tries has a sink that is down tried for about a day.
const tries = 14

// queue is where jobs of a sink wait: one that hangs holds up only itself.
func queue(sink string) string { return "alert-" + sink }

type job struct {
	Sink  string `json:"sink"`
	Batch string `json:"batch"`
}

func enqueue(tx fleet.Tx, d job, key string, after time.Time) error {
	data, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	return tx.Enqueue(fleet.Job{Kind: fleet.Alert, Key: key, Data: data, Queue: queue(d.Sink), Tries: tries, After: after})
}

// put has an event wait for a sink, alone or with others that are alike. Where people
// read, a machine that got worse before they heard of it is told once, as it is now.
func (a *Alerts) put(tx fleet.Tx, s *sink, e Event) error {
	if e.Kind == Worse && s.people {
		if err := tx.DropWaiting(s.name, e.Subject); err != nil {
			return err
		}
	}
	until := s.quiet.until(e.At.Add(s.group), e.Severity)
	return a.wait(tx, s, kindOf(e), e.At, until, e)
}

// kindOf is the same for events that are alike.
func kindOf(e Event) string {
	lead := ""
	if len(e.Findings) > 0 {
		lead = string(e.Findings[0].Code)
	}
	return strings.Join([]string{string(e.Kind), string(e.State), e.Severity.String(), lead, e.Profile}, " ")
}

// wait puts events into the batch of their kind, and makes the job of a new one.
func (a *Alerts) wait(tx fleet.Tx, s *sink, kind string, now, until time.Time, events ...Event) error {
	id, err := a.id()
	if err != nil {
		return err
	}
	batch := id
	if until.After(now) {
		if batch, err = tx.Gather(s.name, kind, id, now, until); err != nil {
			return err
		}
	}
	for _, e := range events {
		doc, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("alerts: %w", err)
		}
		if err := tx.PutWaiting(outbox.Entry{Sink: s.name, Subject: e.Subject, Batch: batch, At: e.At, Doc: doc}); err != nil {
			return err
		}
	}
	if batch != id {
		return nil // its job waits
	}
	if !until.After(now) {
		until = time.Time{} // at once
	}
	return enqueue(tx, job{s.name, id}, id, until)
}

func (a *Alerts) id() (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(a.random, b); err != nil {
		return "", fmt.Errorf("alerts: random numbers: %w", err)
	}
	return "alert-" + hex.EncodeToString(b), nil
}
