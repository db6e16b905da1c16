package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

const (
	attemptTime = 30 * time.Second
	maxEvents   = 500 // of one message; the others are counted
	atOnce      = 2   // messages to one sink
	maxRemind   = 4   // messages of reminders at once, for sinks that take each alert
)

// Work adds what tells the sinks to what a process does: each sink has a queue of
// its own, so that one that hangs holds up nothing else.
func (a *Alerts) Work(store fleet.Store, w *fleet.Workers) {
	if a == nil {
		return
	}
	w.Handlers[fleet.Alert], w.Handlers[fleet.Remind] = a.deliver(store), a.reminds(store)
	w.Periodic[fleet.Remind] = time.Minute
	if w.Queues == nil {
		w.Queues = map[string]int{}
	}
	for _, s := range a.sinks {
		w.Queues[queue(s.name)] = atOnce
	}
}

// pause is after which a batch is looked at again that waits for an older one.
const pause = time.Minute

// deliver gives the handler of jobs that tell one batch to one sink.
func (a *Alerts) deliver(store fleet.Store) fleet.Handler {
	return func(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
		s, d, err := a.sinkOf(j)
		if err != nil {
			return nil, err
		}
		m, behind, err := a.message(ctx, store, d.Batch)
		switch {
		case err != nil:
			return nil, err
		case m.total == 0:
			return nil, nil // what waited was told with something newer
		case behind: // that a machine recovered is not told before what it recovered from
			again := a.now().UTC().Add(pause)
			return func(tx fleet.Tx) error { return enqueue(tx, d, d.Batch+again.Format(" 150405.000000"), again) }, nil
		}
		if err := a.attempt(ctx, s, m); err != nil {
			return nil, err
		}
		return func(tx fleet.Tx) error { return tx.DropBatch(d.Batch) }, nil
	}
}

func (a *Alerts) sinkOf(j fleet.Job) (*sink, job, error) {
	var d job
	if err := json.Unmarshal(j.Data, &d); err != nil {
		return nil, d, fmt.Errorf("alerts: %w", err)
	}
	if a != nil {
		for _, s := range a.sinks {
			if s.name == d.Sink {
				return s, d, nil
			}
		}
	}
	return nil, d, fmt.Errorf("alerts: no sink %s is configured here", d.Sink)
}

// message closes a batch and reads it.
func (a *Alerts) message(ctx context.Context, store fleet.Store, batch string) (m *message, behind bool, err error) {
	err = store.Update(ctx, func(tx fleet.Tx) error {
		m = &message{id: batch, url: a.url}
		if err := tx.CloseBatch(batch); err != nil {
			return err
		}
		if behind, err = tx.Behind(batch); err != nil {
			return err
		}
		es, total, err := tx.Waiting(batch, maxEvents)
		m.total = total
		for _, w := range es {
			var e Event
			if err := json.Unmarshal(w.Doc, &e); err != nil {
				return fmt.Errorf("alerts: what waits about %s: %w", w.Subject, err)
			}
			m.events = append(m.events, e)
		}
		return err
	})
	return m, behind, err
}

func (a *Alerts) attempt(ctx context.Context, s *sink, m *message) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	m.sent = a.now().UTC()
	if err := s.via.send(ctx, m); err != nil {
		a.count(s, "failed")
		return fmt.Errorf("alerts: sink %s: %w", s.name, err)
	}
	a.count(s, "sent")
	return nil
}

func (a *Alerts) count(s *sink, outcome string) {
	if a.Count != nil {
		a.Count(s.name, outcome)
	}
}

// GaveUp is what it means that a batch was not told for a day: the next audit of
// each machine finds that the sink has not heard.
func (a *Alerts) GaveUp(tx fleet.Tx, j fleet.Job) error {
	s, d, err := a.sinkOf(j)
	if err != nil {
		return nil // a sink that is no more; the audit log has it
	}
	a.count(s, "given up")
	for {
		es, _, err := tx.Waiting(d.Batch, maxEvents)
		if err != nil {
			return err
		}
		for _, w := range es {
			if err := a.lost(tx, s, w.Subject, w.Doc); err != nil {
				return err
			}
			if err := tx.DropWaiting(s.name, w.Subject); err != nil {
				return err
			}
		}
		if len(es) == 0 {
			return tx.DropBatch(d.Batch)
		}
	}
}

func (a *Alerts) lost(tx fleet.Tx, s *sink, subject string, doc []byte) error {
	var e Event
	if err := json.Unmarshal(doc, &e); err != nil {
		return fmt.Errorf("alerts: what waits about %s: %w", subject, err)
	}
	entries, err := tx.Told(subject)
	if err != nil {
		return err
	}
	name := s.name
	if e.Kind == Refused {
		name = refusals(name)
	}
	t, err := held(entries, name)
	if err != nil {
		return err
	}
	if t == nil { // that it recovered was not told: it holds what was before
		t = &told{Event: e, Severities: append(e.Also, e.Severity)}
		t.State = e.Was
	}
	t.Lost = true
	return putTold(tx, name, subject, t)
}

// reminds gives the handler of the periodic job that tells again what stands since
// long, where a sink wants that, and forgets refusals. While something waits for a
// sink it is not reminded of anything.
func (a *Alerts) reminds(store fleet.Store) fleet.Handler {
	return func(ctx context.Context, _ fleet.Job) (func(fleet.Tx) error, error) {
		now := a.now().UTC()
		for _, s := range a.sinks {
			for range maxRemind {
				n := 0
				err := store.Update(ctx, func(tx fleet.Tx) (err error) {
					n, err = a.remind(tx, s, now)
					return errors.Join(err, forget(tx, s, now))
				})
				if err != nil {
					return nil, err
				}
				if n == 0 || s.people {
					break // one message is enough for a person
				}
			}
		}
		return nil, nil
	}
}

func (a *Alerts) remind(tx fleet.Tx, s *sink, now time.Time) (int, error) {
	if s.remind == 0 || s.quiet.until(now, finding.Info).After(now) {
		return 0, nil
	}
	oldest, err := tx.Oldest(s.name)
	if err != nil || !oldest.IsZero() && oldest.Before(now) {
		return 0, err
	}
	es, err := tx.ToldBefore(s.name, now.Add(-s.remind), maxEvents)
	if err != nil {
		return 0, err
	}
	var events []Event
	for i := range es {
		t, err := held(es[i:i+1], s.name)
		if err != nil {
			return 0, err
		}
		t.At = now
		if err := putTold(tx, s.name, es[i].Subject, t); err != nil {
			return 0, err
		}
		if e := t.Event; t.Severity >= s.severity {
			e.Kind, e.Also = Reminder, others(t.Severities, t.Severity)
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		return 0, nil
	}
	return len(events), a.wait(tx, s, string(Reminder), now, now, events...)
}

func forget(tx fleet.Tx, s *sink, now time.Time) error {
	es, err := tx.ToldBefore(refusals(s.name), now.Add(-remember), maxEvents)
	for _, e := range es {
		err = errors.Join(err, tx.DropTold(e.Sink, e.Subject))
	}
	return err
}

// Tried is what a sink answered to a test.
type Tried struct {
	Sink string
	Err  error
}

// Try sends a test to each sink, and waits for each.
func (a *Alerts) Try(ctx context.Context) ([]Tried, error) {
	var out []Tried
	for _, s := range a.sinks {
		id, err := a.id()
		if err != nil {
			return nil, err
		}
		now := a.now().UTC()
		e := Event{Kind: Test, Subject: "test", Name: "test", Severity: finding.Info, Since: now, At: now}
		out = append(out, Tried{s.name, a.attempt(ctx, s, &message{id: id, events: []Event{e}, total: 1, url: a.url})})
	}
	return out, nil
}
