package alert

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/sqlite"
)

// desk is a store with machines, and sinks that are told.
type desk struct {
	*Alerts
	t     *testing.T
	store *noting
	clock time.Time
	count map[string]int
}

// noting is a store that notes jobs as they are made, so that a test can run each
// when its time has come.
type noting struct {
	fleet.Store
	jobs []fleet.Job
}

type notingTx struct {
	fleet.Tx
	jobs *[]fleet.Job
}

func (n *noting) Update(ctx context.Context, f func(fleet.Tx) error) error {
	var jobs []fleet.Job
	err := n.Store.Update(ctx, func(tx fleet.Tx) error {
		jobs = nil
		return f(notingTx{tx, &jobs})
	})
	if err == nil {
		n.jobs = append(n.jobs, jobs...)
	}
	return err
}

func (n notingTx) Enqueue(jobs ...fleet.Job) error {
	*n.jobs = append(*n.jobs, jobs...)
	return n.Tx.Enqueue(jobs...)
}

func newDesk(t *testing.T, c *Config) *desk {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	d := &desk{t: t, store: &noting{Store: st}, clock: start, count: map[string]int{}}
	for i := range c.Sinks {
		require.NoError(t, c.Sinks[i].check())
	}
	d.Alerts, err = New(c, "1.0", func() time.Time { return d.clock })
	require.NoError(t, err)
	var mu sync.Mutex
	d.Count = func(sink, outcome string) { mu.Lock(); d.count[sink+" "+outcome]++; mu.Unlock() }
	return d
}

func hook(t *testing.T, name, url string, more ...func(*Sink)) Sink {
	none := time.Duration(0)
	s := Sink{Name: name, Webhook: &Webhook{URL: url, Secret: secretFile(t, hookSecret)}, Group: &none}
	for _, m := range more {
		m(&s)
	}
	return s
}

func grouped(d time.Duration) func(*Sink) { return func(s *Sink) { s.Group = &d } }

// state has a machine change, as an appraisal or silence does.
func (d *desk) state(id string, to fleet.State, judged bool, open ...fleet.Open) {
	d.t.Helper()
	require.NoError(d.t, d.store.Update(d.t.Context(), func(tx fleet.Tx) error { return d.change(tx, id, to, judged, open...) }))
}

func (d *desk) change(tx fleet.Tx, id string, to fleet.State, judged bool, open ...fleet.Open) error {
	h, err := tx.Host(id)
	if errors.Is(err, fleet.ErrNotFound) {
		h, err = &fleet.Host{ID: id, Name: "node-" + id, Site: "ams", Profile: "p1", Mode: fleet.ByAgent, State: fleet.Enrolled}, nil
	}
	if err != nil {
		return err
	}
	was := h.State
	h.State = to
	return errors.Join(tx.PutHost(h), d.Changed(tx, Change{Was: was, Host: h, Open: open, Judged: judged, At: d.clock}))
}

// run does the jobs whose time has come, once each; those that fail stay.
func (d *desk) run() (failed []error) {
	d.t.Helper()
	jobs := d.store.jobs
	d.store.jobs = nil
	var left []fleet.Job
	for _, j := range jobs {
		if j.After.After(d.clock) {
			left = append(left, j)
			continue
		}
		effect, err := d.deliver(d.store)(d.t.Context(), j)
		if err != nil {
			failed, left = append(failed, err), append(left, j)
			continue
		}
		if effect != nil {
			require.NoError(d.t, d.store.Update(d.t.Context(), effect))
		}
	}
	d.store.jobs = append(left, d.store.jobs...)
	return failed
}

func kinds(ps []payload) (out []string) {
	for _, p := range ps {
		out = append(out, fmt.Sprintf("%s %d %s", p.Data.Events[0].Kind, p.Data.Total, p.Data.Events[0].State))
	}
	return out
}

var chip = open(finding.UnexpectedComponent, "pci:1", finding.Critical)

func TestEachSinkIsToldOnce(t *testing.T) {
	r, other := newReceiver(t), newReceiver(t)
	high := finding.High
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "all", r.url), hook(t, "bad", other.url, func(s *Sink) { s.Severity = &high })}})
	d.state("1", fleet.Review, true)
	d.state("2", fleet.Pass, true)
	for range 3 { // the same each day
		d.clock = d.clock.AddDate(0, 0, 1)
		d.state("1", fleet.Fail, true, chip)
	}
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail"}, kinds(r.got()), "told before the sink heard of the review: as it is now")
	require.Equal(t, []string{"worse 1 fail"}, kinds(other.got()))
	d.state("1", fleet.Pass, true)
	d.state("1", fleet.Pass, true)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail", "recovered 1 pass"}, kinds(r.got()))
	require.Equal(t, []string{"worse 1 fail", "recovered 1 pass"}, kinds(other.got()))
	require.Equal(t, map[string]int{"all sent": 2, "bad sent": 2}, d.count)
}

// Nothing is told of what was rolled back.
func TestWhatWasUndoneIsNotTold(t *testing.T) {
	r := newReceiver(t)
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "all", r.url)}})
	stop := errors.New("stop")
	require.ErrorIs(t, d.store.Update(t.Context(), func(tx fleet.Tx) error {
		return errors.Join(d.change(tx, "1", fleet.Fail, true, chip), stop)
	}), stop)
	require.Empty(t, d.run())
	require.Empty(t, r.got())
	d.state("1", fleet.Fail, true, chip)
	require.Empty(t, d.run())
	require.Len(t, r.got(), 1, "and what happens is")
}

// A firmware wave is one alert that counts the machines.
func TestAWaveIsOneAlert(t *testing.T) {
	r := newReceiver(t)
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "all", r.url, grouped(time.Minute))}})
	for i := range 200 {
		d.state(fmt.Sprint(i), fleet.Fail, true, chip)
	}
	d.state("odd", fleet.Stale, false)
	require.Empty(t, d.run())
	require.Empty(t, r.got(), "the window is open")
	d.clock = d.clock.Add(time.Minute)
	require.Empty(t, d.run())
	require.ElementsMatch(t, []string{"worse 200 fail", "worse 1 stale"}, kinds(r.got()))
	d.state("late", fleet.Fail, true, chip)
	d.clock = d.clock.Add(time.Minute)
	require.Empty(t, d.run())
	require.Equal(t, "worse 1 fail", kinds(r.got())[2], "a window that is closed takes nothing in")
	for i := range 200 {
		d.state(fmt.Sprint(i), fleet.Pass, true)
	}
	d.clock = d.clock.Add(time.Minute)
	require.Empty(t, d.run())
	require.Equal(t, "recovered 200 pass", kinds(r.got())[3])
}

// A sink that is down holds up no other, and hears of everything in order when it
// is back, under the id of the first attempt.
func TestASinkThatIsDown(t *testing.T) {
	r, other := newReceiver(t), newReceiver(t)
	r.fail = 3
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "down", r.url), hook(t, "up", other.url)}})
	d.state("1", fleet.Fail, true, chip)
	require.Len(t, d.run(), 1)
	d.clock = d.clock.Add(time.Hour)
	d.state("1", fleet.Pass, true)
	failed := d.run()
	require.Len(t, failed, 1, "that it recovered waits for what it recovered from")
	require.ErrorContains(t, failed[0], "answered 503")
	require.Equal(t, []string{"worse 1 fail", "recovered 1 pass"}, kinds(other.got()))
	require.Len(t, d.run(), 1)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail"}, kinds(r.got()))
	d.clock = d.clock.Add(pause)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail", "recovered 1 pass"}, kinds(r.got()))
	require.Equal(t, map[string]int{"down failed": 3, "down sent": 2, "up sent": 2}, d.count)
	require.Empty(t, d.store.jobs)
}

// What was given up after a day is told at the next audit, for nobody has heard.
func TestWhatWasGivenUpIsToldLater(t *testing.T) {
	r := newReceiver(t)
	r.fail = 1
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "down", r.url)}})
	giveUp := func() {
		require.Len(t, d.run(), 1)
		j := d.store.jobs[0]
		d.store.jobs = nil
		require.NoError(t, d.store.Update(t.Context(), func(tx fleet.Tx) error { return d.GaveUp(tx, j) }))
	}
	d.state("1", fleet.Fail, true, chip)
	giveUp()
	require.Empty(t, d.run())
	d.clock = d.clock.AddDate(0, 0, 1)
	d.state("1", fleet.Fail, true, chip)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail"}, kinds(r.got()))
	d.state("1", fleet.Fail, true, chip)
	require.Empty(t, d.run())
	require.Len(t, r.got(), 1, "and once")

	r.fail = 1
	d.state("1", fleet.Pass, true)
	giveUp()
	d.state("1", fleet.Pass, true)
	require.Empty(t, d.run())
	require.Equal(t, "recovered 1 pass", kinds(r.got())[1])
	require.Equal(t, 2, d.count["down given up"])
}

// At night only what is bad is told; the rest waits until the morning.
func TestQuietHours(t *testing.T) {
	r := newReceiver(t)
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "duty", r.url, func(s *Sink) { s.Quiet = &Quiet{From: "22:00", To: "07:00", Zone: "Europe/Amsterdam"} })}})
	d.clock = time.Date(2026, 3, 2, 2, 0, 0, 0, time.UTC) // three in the morning there
	d.state("1", fleet.Review, true)
	d.state("2", fleet.Review, true)
	d.state("3", fleet.Fail, true, chip)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail"}, kinds(r.got()))
	d.state("1", fleet.Fail, true, chip)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail", "worse 1 fail"}, kinds(r.got()), "what got bad does not wait for what waits")
	d.clock = time.Date(2026, 3, 2, 5, 59, 0, 0, time.UTC)
	require.Empty(t, d.run())
	require.Len(t, r.got(), 2)
	d.clock = time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
	require.Empty(t, d.run())
	require.Equal(t, "worse 1 review", kinds(r.got())[2])
	require.Equal(t, "node-2", r.got()[2].Data.Events[0].Name)
}

func TestQuietHoursEnd(t *testing.T) {
	at := func(h, m int) time.Time { return time.Date(2026, 7, 1, h, m, 0, 0, time.UTC) }
	night, lunch := Quiet{From: "22:00", To: "07:00"}, Quiet{From: "12:00", To: "13:00", Zone: "Asia/Tokyo"}
	for name, c := range map[string]struct {
		q        Quiet
		at, want time.Time
	}{
		"before":                    {night, at(21, 59), at(21, 59)},
		"in the evening":            {night, at(22, 0), at(22+9, 0)},
		"in the morning":            {night, at(6, 59), at(7, 0)},
		"when it ends":              {night, at(7, 0), at(7, 0)},
		"in another zone":           {lunch, at(3, 30), at(4, 0)},
		"not then in another zone":  {lunch, at(12, 30), at(12, 30)},
		"when clocks are put ahead": {Quiet{From: "01:00", To: "02:30", Zone: "Europe/Amsterdam"}, time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC), time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)},
	} {
		h, err := c.q.parse()
		require.NoError(t, err, name)
		require.True(t, c.want.Equal(h.until(c.at, finding.Medium)), "%s: %s", name, h.until(c.at, finding.Medium))
		require.Equal(t, c.at, h.until(c.at, finding.High), name)
	}
}

// Who wants that is reminded of what still stands, and nobody else.
func TestReminders(t *testing.T) {
	r, other := newReceiver(t), newReceiver(t)
	day := 24 * time.Hour
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "forgetful", r.url, grouped(time.Minute), func(s *Sink) { s.Remind = &day }), hook(t, "other", other.url)}})
	remind := func() {
		t.Helper()
		_, err := d.reminds(d.store)(t.Context(), fleet.Job{Kind: fleet.Remind})
		require.NoError(t, err)
		require.Empty(t, d.run())
	}
	d.state("1", fleet.Fail, true, chip)
	d.state("2", fleet.Stale, false)
	d.clock = d.clock.Add(time.Minute)
	require.Empty(t, d.run())
	require.Len(t, r.got(), 2)
	remind()
	require.Len(t, r.got(), 2, "it is not long ago")
	d.clock = d.clock.Add(day)
	remind()
	remind()
	require.Len(t, r.got(), 3)
	require.Equal(t, "2 machines are still not good", r.got()[2].Data.Title)
	d.state("1", fleet.Pass, true)
	remind()
	require.Len(t, r.got(), 3, "of nothing while something newer waits")
	d.clock = d.clock.Add(2 * time.Minute)
	require.Empty(t, d.run())
	d.clock = d.clock.Add(day)
	remind()
	require.Len(t, r.got(), 5, "%v", kinds(r.got()))
	require.Equal(t, "node-2 (ams): still stale since 2026-03-01 08:00 UTC", r.got()[4].Data.Title)
	require.Len(t, other.got(), 3)
}

// Somebody who wants to be a machine that is known is told once a day.
func TestRefusals(t *testing.T) {
	r := newReceiver(t)
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "all", r.url)}})
	refuse := func(serial string) {
		require.NoError(t, d.store.Update(t.Context(), func(tx fleet.Tx) error {
			h := &fleet.Host{Name: "node-1", Identity: fleet.Identity{EKSHA256: "ab", Chassis: fleet.Chassis{Serial: serial}}}
			return d.Refused(tx, h, "FL-004: this TPM is known in another chassis", d.clock)
		}))
		require.Empty(t, d.run())
	}
	refuse("S-1")
	refuse("S-1")
	require.Equal(t, []string{"refused 1 "}, kinds(r.got()))
	require.Contains(t, r.got()[0].Data.Title, "FL-004")
	refuse("S-2")
	require.Len(t, r.got(), 2, "another one")
	d.clock = d.clock.Add(remember)
	_, err := d.reminds(d.store)(t.Context(), fleet.Job{Kind: fleet.Remind})
	require.NoError(t, err)
	refuse("S-1")
	require.Len(t, r.got(), 3, "the day after")
}

// A sink that is new hears of what stands at the next audit.
func TestASinkThatIsNew(t *testing.T) {
	r := newReceiver(t)
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "new", r.url)}})
	require.NoError(t, d.store.Update(t.Context(), func(tx fleet.Tx) error {
		return tx.PutHost(&fleet.Host{ID: "1", Name: "node-1", Mode: fleet.ByAgent, State: fleet.Fail})
	}))
	d.state("1", fleet.Fail, true, chip)
	require.Empty(t, d.run())
	require.Equal(t, []string{"worse 1 fail"}, kinds(r.got()))
}

// A job of a sink that nobody has here is an error, and given up without harm.
func TestJobOfASinkThatIsGone(t *testing.T) {
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "all", "http://127.0.0.1:1")}})
	j := fleet.Job{Kind: fleet.Alert, Key: "alert-x", Data: []byte(`{"sink":"gone"}`)}
	_, err := d.deliver(d.store)(t.Context(), j)
	require.ErrorContains(t, err, "no sink gone")
	require.NoError(t, d.store.Update(t.Context(), func(tx fleet.Tx) error { return d.GaveUp(tx, j) }))
}

func TestTry(t *testing.T) {
	r := newReceiver(t)
	d := newDesk(t, &Config{Sinks: []Sink{hook(t, "good", r.url), hook(t, "bad", "http://127.0.0.1:1")}})
	tried, err := d.Try(t.Context())
	require.NoError(t, err)
	require.Len(t, tried, 2)
	require.NoError(t, tried[0].Err)
	require.Error(t, tried[1].Err)
	require.Equal(t, []string{"test 1 "}, kinds(r.got()))
}
