// Package storetest is what every store of a fleet has to do.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// Open makes a store with nothing in it. Opening it again by its name gives the
// same store.
type Open func(t *testing.T, name string) fleet.Store

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, fleet.Store){
		"hosts": hosts, "pages": pages, "due": due, "challenges": challenges, "evidence": evidence, "results": results, "findings": findings, "onsets": onsets, "facts": facts, "features": features,
		"documents": documents, "exceptions and accounts": people, "audit log": auditLog, "rollback": rollback, "prune": prune, "jobs": jobs, "jobs fail": failing, "jobs at once": atOnce, "counts stay right": countsStayRight,
		"outbox": outboxKeeps, "batches": batches, "batches close": batchesClose, "jobs counted": jobsCounted, "jobs end in order": endsInOrder,
		"pages backwards": pagesBackwards, "trend": trend, "library": library, "pages of jobs": jobPages, "jobs whose turn has not come": turns,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, name)
			test(t, s)
		})
	}
	t.Run("opened again", func(t *testing.T) {
		s := open(t, "again")
		put(t, s, host(1))
		require.NoError(t, s.Close())
		require.Equal(t, "node-001", get(t, open(t, "again"), "h001").Name)
	})
}

func host(n int) *fleet.Host {
	return &fleet.Host{
		ID: fmt.Sprintf("h%03d", n), Name: fmt.Sprintf("node-%03d", n), Site: "ams", Mode: fleet.ByAgent, State: fleet.Enrolled, Since: start, EnrolledAt: start,
		Identity: fleet.Identity{EKSHA256: fmt.Sprintf("ek%03d", n), AKName: "000b", Chassis: fleet.Chassis{Manufacturer: "Example", Product: "R1", Serial: fmt.Sprintf("S-%03d", n)}},
		Interval: 24 * time.Hour, NextDue: start.Add(time.Duration(n) * time.Minute),
	}
}

func update(t testing.TB, s fleet.Store, f func(fleet.Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(context.Background(), f))
}

func view(t testing.TB, s fleet.Store, f func(fleet.Reader) error) {
	t.Helper()
	require.NoError(t, s.View(context.Background(), f))
}

func put(t testing.TB, s fleet.Store, hs ...*fleet.Host) {
	t.Helper()
	update(t, s, func(tx fleet.Tx) error {
		for _, h := range hs {
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
		return nil
	})
}

func get(t testing.TB, s fleet.Store, id string) (h *fleet.Host) {
	t.Helper()
	view(t, s, func(r fleet.Reader) (err error) { h, err = r.Host(id); return err })
	return h
}

func hosts(t *testing.T, s fleet.Store) {
	want := host(1)
	put(t, s, want)
	require.Equal(t, want, get(t, s, "h001"))
	view(t, s, func(r fleet.Reader) error {
		h, err := r.HostByEK("ek001")
		require.NoError(t, err)
		require.Equal(t, want, h)
		_, err = r.HostByEK("")
		require.ErrorIs(t, err, fleet.ErrNotFound)
		_, err = r.Host("none")
		require.ErrorIs(t, err, fleet.ErrNotFound)
		return nil
	})
	want.State, want.Since = fleet.Fail, start.Add(time.Hour)
	put(t, s, want)
	require.Equal(t, want, get(t, s, "h001"))
	twin := host(2)
	twin.Identity.EKSHA256 = "ek001"
	require.Error(t, s.Update(context.Background(), func(tx fleet.Tx) error { return tx.PutHost(twin) }), "one key is one machine")
	bare := []*fleet.Host{host(3), host(4)}
	for _, h := range bare {
		h.Mode, h.Identity = fleet.ByRedfish, fleet.Identity{}
	}
	put(t, s, bare...)
	view(t, s, func(r fleet.Reader) error {
		c, err := r.Count()
		require.NoError(t, err)
		require.Equal(t, fleet.Counts{Hosts: 3, ByState: map[fleet.State]int64{fleet.Fail: 1, fleet.Enrolled: 2}}, c)
		return nil
	})
}

func pages(t *testing.T, s fleet.Store) {
	for i := range 25 {
		h := host(i)
		h.Since = start.Add(time.Duration(i%5) * time.Hour) // many are equal
		if i%5 == 0 {
			h.State, h.Site = fleet.Fail, "fra"
		}
		put(t, s, h)
	}
	for _, order := range []string{"", "name", "state", "since", "lastAttested"} {
		seen := map[string]bool{}
		q := fleet.HostQuery{Sort: order, Limit: 7}
		for {
			var page []fleet.Host
			view(t, s, func(r fleet.Reader) (err error) { page, err = r.Hosts(q); return err })
			for _, h := range page {
				require.False(t, seen[h.ID], "%s twice in the order %q", h.ID, order)
				seen[h.ID] = true
			}
			if len(page) < 7 {
				break
			}
			q.After = page[len(page)-1].Key(order)
		}
		require.Len(t, seen, 25, order)
	}
	view(t, s, func(r fleet.Reader) error {
		for q, want := range map[fleet.HostQuery]int{
			{State: fleet.Fail}: 5, {Site: "fra"}: 5, {Site: "fra", State: fleet.Enrolled}: 0, {Text: "S-01"}: 10, {Text: "s-01"}: 10, {Text: "NODE-00"}: 10, {Text: "ode-00"}: 10, {Text: "\x00\xff"}: 0, {Serial: "s-007"}: 1, {Serial: "S-00"}: 0, {Text: "node-0%"}: 0, {Text: "r1"}: 25, {Overdue: start.Add(10 * time.Minute)}: 10,
		} {
			hs, err := r.Hosts(q)
			require.NoError(t, err)
			require.Len(t, hs, want, "%+v", q)
		}
		for _, q := range []fleet.HostQuery{{Sort: "doc; DROP TABLE host"}, {After: "x"}, {Sort: "since", After: `["x","y"]`}} {
			_, err := r.Hosts(q)
			require.Error(t, err, "%+v", q)
		}
		return nil
	})
}

func due(t *testing.T, s fleet.Store) {
	for i := range 20 {
		put(t, s, host(i))
	}
	gone, other := host(0), host(1)
	gone.State, other.Mode = fleet.Retired, fleet.ByRedfish
	put(t, s, gone, other)
	var mu sync.Mutex
	var wg sync.WaitGroup
	claimed := map[string]int{}
	until := start.Add(time.Hour)
	for range 4 { // at the same time, as schedulers do
		wg.Go(func() {
			for {
				var hs []fleet.Host
				if err := s.Update(context.Background(), func(tx fleet.Tx) (err error) {
					hs, err = tx.Due(start.Add(15*time.Minute), until, fleet.ByAgent, 3)
					return err
				}); err != nil || len(hs) == 0 {
					return
				}
				mu.Lock()
				for _, h := range hs {
					claimed[h.ID]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, claimed, 14)
	for id, n := range claimed {
		require.Equal(t, 1, n, id)
		require.True(t, until.Equal(get(t, s, id).NextDue))
	}
}

func challenges(t *testing.T, s fleet.Store) {
	c := fleet.Challenge{Nonce: []byte("0123456789abcdef"), Host: "h001", Issued: start, Deadline: start.Add(time.Minute), Data: []byte("pending")}
	update(t, s, func(tx fleet.Tx) error { return tx.PutChallenge(c) })
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			err := s.Update(context.Background(), func(tx fleet.Tx) error {
				o, err := tx.TakeChallenge(c.Nonce)
				if err == nil && o.Host == c.Host && o.Deadline.Equal(c.Deadline) && string(o.Data) == "pending" {
					return nil
				}
				return errors.Join(err, errors.New("another"))
			})
			if err == nil {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, got.Load(), "a nonce is good once")
}

func evidence(t *testing.T, s fleet.Store) {
	e := &fleet.Evidence{Digest: "d1", Host: "h001", Received: start, Nonce: []byte{1}, Size: 9, Status: fleet.Accepted}
	update(t, s, func(tx fleet.Tx) error { return tx.PutEvidence(e) })
	require.ErrorIs(t, s.Update(context.Background(), func(tx fleet.Tx) error { return tx.PutEvidence(e) }), fleet.ErrExists)
	e.Status = fleet.Appraised
	update(t, s, func(tx fleet.Tx) error { return tx.PutEvidence(e) })
	view(t, s, func(r fleet.Reader) error {
		o, err := r.Evidence("d1")
		require.NoError(t, err)
		require.Equal(t, e, o)
		return nil
	})
	other := *e
	other.Host = "h002"
	require.ErrorIs(t, s.Update(context.Background(), func(tx fleet.Tx) error { return tx.PutEvidence(&other) }), fleet.ErrNotFound)
}

func result(host string, n int, changes ...fleet.Change) *fleet.Result {
	return &fleet.Result{ID: fmt.Sprintf("%s-r%d", host, n), Host: host, Evidence: fmt.Sprintf("%s-d%d", host, n), At: start.Add(time.Duration(n) * time.Hour), State: fleet.Pass, Verdict: "pass", Level: "L3", Changes: changes}
}

func results(t *testing.T, s fleet.Store) {
	moved := fleet.Change{Kind: "state", Old: "pass", New: "fail"}
	for i := range 5 {
		r := result("h001", i)
		if i == 3 {
			r.Changes = append(r.Changes, moved)
		}
		update(t, s, func(tx fleet.Tx) error { return tx.PutResult(r) })
	}
	again := result("h001", 9)
	again.Evidence = "h001-d1"
	require.ErrorIs(t, s.Update(context.Background(), func(tx fleet.Tx) error { return tx.PutResult(again) }), fleet.ErrExists, "evidence has one result")
	view(t, s, func(r fleet.Reader) error {
		rs, err := r.Results("h001", time.Time{}, 2)
		require.NoError(t, err)
		require.Equal(t, []string{"h001-r4", "h001-r3"}, []string{rs[0].ID, rs[1].ID})
		rs, err = r.Results("h001", rs[1].At, 10)
		require.NoError(t, err)
		require.Len(t, rs, 3)
		rs, err = r.Moved(start, 10)
		require.NoError(t, err)
		require.Len(t, rs, 1)
		require.Equal(t, []fleet.Change{moved}, rs[0].Changes)
		var order []string
		at, id := time.Time{}, ""
		for {
			rs, err := r.History(at, id, 2)
			require.NoError(t, err)
			if len(rs) == 0 {
				break
			}
			for _, x := range rs {
				order = append(order, x.ID)
				at, id = x.At, x.ID
			}
		}
		require.Equal(t, []string{"h001-r0", "h001-r1", "h001-r2", "h001-r3", "h001-r4"}, order)
		one, err := r.Result("h001-r2")
		require.NoError(t, err)
		require.Equal(t, "h001-d2", one.Evidence)
		return nil
	})
}

func findings(t *testing.T, s fleet.Store) {
	open := func(host, subject string, code finding.Code, severity finding.Severity) fleet.Open {
		f := finding.New(code, subject)
		f.Severity, f.Fingerprint = severity, host+subject
		return fleet.Open{Host: host, Finding: f, FirstSeen: start, LastSeen: start}
	}
	update(t, s, func(tx fleet.Tx) error {
		return errors.Join(tx.PutOpen("h001", []fleet.Open{open("h001", "a", finding.UnexpectedComponent, finding.Low), open("h001", "b", finding.UnexpectedComponent, finding.Critical)}),
			tx.PutOpen("h002", []fleet.Open{open("h002", "a", finding.MissingComponent, finding.High)}))
	})
	list := func(q fleet.FindingQuery) (out []string) {
		view(t, s, func(r fleet.Reader) error {
			os, err := r.OpenFindings(q)
			for _, o := range os {
				out = append(out, o.Finding.Fingerprint)
			}
			return err
		})
		return out
	}
	require.Equal(t, []string{"h001b", "h002a", "h001a"}, list(fleet.FindingQuery{}))
	require.Equal(t, []string{"h001b", "h002a"}, list(fleet.FindingQuery{AtLeast: "high"}))
	require.Equal(t, []string{"h001b", "h001a"}, list(fleet.FindingQuery{Host: "h001"}))
	require.Equal(t, []string{"h002a"}, list(fleet.FindingQuery{Code: "HW-002"}))
	var paged []string
	for after := ""; ; {
		var page []fleet.Open
		view(t, s, func(r fleet.Reader) (err error) {
			page, err = r.OpenFindings(fleet.FindingQuery{Limit: 1, After: after})
			return err
		})
		if len(page) == 0 {
			break
		}
		paged, after = append(paged, page[0].Finding.Fingerprint), page[0].Key()
	}
	require.Equal(t, []string{"h001b", "h002a", "h001a"}, paged)
	view(t, s, func(r fleet.Reader) error {
		_, err := r.OpenFindings(fleet.FindingQuery{After: "no key"})
		require.Error(t, err)
		return nil
	})
	update(t, s, func(tx fleet.Tx) error { return errors.Join(tx.PutOpen("h001", nil), tx.PutOpen("h003", nil)) })
	require.Equal(t, []string{"h002a"}, list(fleet.FindingQuery{}))
}

// onsets says on which machines of a kind a finding began together.
func onsets(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error {
		for i := range 3 {
			h := host(i + 1)
			h.Profile = []string{"p", "p", "q"}[i]
			f := finding.New(finding.UnexpectedComponent, "x")
			f.Seal()
			o := fleet.Open{Host: h.ID, Finding: f, FirstSeen: start.Add(time.Duration(i) * time.Hour)}
			if err := errors.Join(tx.PutHost(h), tx.PutOpen(h.ID, []fleet.Open{o})); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(r fleet.Reader) error {
		for to, want := range map[time.Duration][]string{0: {"h001"}, time.Hour: {"h001", "h002"}, 5 * time.Hour: {"h001", "h002"}} {
			hosts, err := r.Began("p", finding.UnexpectedComponent, "x", start, start.Add(to), 10)
			require.NoError(t, err)
			require.ElementsMatch(t, want, hosts)
		}
		return nil
	})
}

func facts(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error {
		return errors.Join(tx.PutFacts("h001", []fleet.Fact{{Kind: "mac", Value: "m1"}, {Kind: "uuid", Value: "u1"}}), tx.PutFacts("h002", []fleet.Fact{{Kind: "mac", Value: "m1"}, {Kind: "mac", Value: "m1"}}))
	})
	view(t, s, func(r fleet.Reader) error {
		fs, err := r.Sharing("mac", "m1", 10)
		require.NoError(t, err)
		require.Equal(t, []fleet.Fact{{Kind: "mac", Value: "m1", Host: "h001"}, {Kind: "mac", Value: "m1", Host: "h002"}}, fs)
		fs, err = r.Facts("h001")
		require.NoError(t, err)
		require.Len(t, fs, 2)
		return nil
	})
	update(t, s, func(tx fleet.Tx) error { return tx.PutFacts("h002", nil) })
	view(t, s, func(r fleet.Reader) error {
		fs, err := r.Sharing("mac", "m1", 10)
		require.Len(t, fs, 1)
		return err
	})
}

func features(t *testing.T, s fleet.Store) {
	p, q := fleet.Profile{ID: "p", Name: "R1"}, fleet.Profile{ID: "q", Name: "R2"}
	set := func(host string, p fleet.Profile, keys ...string) {
		update(t, s, func(tx fleet.Tx) error { return tx.PutFeatures(host, p, keys) })
	}
	set("h1", p, "nic", "bios 1")
	set("h2", p, "nic", "bios 1", "nic")
	set("h3", p, "nic", "bios 2", "implant")
	set("h3", p, "nic", "bios 2", "implant")
	count := func(profile string) map[string]int {
		out := map[string]int{}
		view(t, s, func(r fleet.Reader) error {
			fs, err := r.Features(profile)
			for _, f := range fs {
				out[f.Key] = f.Hosts
			}
			ps, err2 := r.Profiles("", 10)
			for _, p := range ps {
				if p.ID == profile {
					out["machines"] = p.Hosts
				}
			}
			return errors.Join(err, err2)
		})
		return out
	}
	require.Equal(t, map[string]int{"nic": 3, "bios 1": 2, "bios 2": 1, "implant": 1, "machines": 3}, count("p"))
	set("h3", p, "nic", "bios 1")
	require.Equal(t, map[string]int{"nic": 3, "bios 1": 3, "machines": 3}, count("p"))
	set("h1", q, "nic")
	require.Equal(t, map[string]int{"nic": 2, "bios 1": 2, "machines": 2}, count("p"))
	require.Equal(t, map[string]int{"nic": 1, "machines": 1}, count("q"))
	view(t, s, func(r fleet.Reader) error {
		hs, err := r.HostsWith("p", "nic", 10)
		require.Equal(t, []string{"h2", "h3"}, hs)
		return err
	})
}

// countsStayRight changes machines of two kinds at the same time, and counts again.
func countsStayRight(t *testing.T, s fleet.Store) {
	var wg sync.WaitGroup
	errs := make(chan error, 200)
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				id, p := fmt.Sprintf("h%d", (w*7+i*3)%10), fleet.Profile{ID: fmt.Sprintf("p%d", (w+i)%2), Name: "x"}
				keys := []string{fmt.Sprintf("a%d", i%3), fmt.Sprintf("b%d", (i+w)%4), "c"}
				errs <- s.Update(context.Background(), func(tx fleet.Tx) error {
					if _, err := tx.Host(id); errors.Is(err, fleet.ErrNotFound) {
						h := host(1)
						h.ID, h.Identity.EKSHA256 = id, id
						if err := tx.PutHost(h); err != nil {
							return err
						}
					}
					return tx.PutFeatures(id, p, keys)
				})
			}
		})
	}
	wg.Wait()
	close(errs)
	failed := 0
	for err := range errs {
		if err != nil {
			failed++
		}
	}
	require.Less(t, failed, 100, "two that insert one machine at a time may fail")
	view(t, s, func(r fleet.Reader) error {
		for _, p := range []string{"p0", "p1"} {
			fs, err := r.Features(p)
			require.NoError(t, err)
			for _, f := range fs {
				hs, err := r.HostsWith(p, f.Key, 100)
				require.NoError(t, err)
				require.Len(t, hs, f.Hosts, "%s %s", p, f.Key)
			}
		}
		return nil
	})
}

func documents(t *testing.T, s fleet.Store) {
	raw := []byte("signed")
	sum := sha256.Sum256(raw)
	d := &fleet.Document{Digest: hex.EncodeToString(sum[:]), Kind: "golden", Name: "r1", Version: 1, Signers: []string{"Example"}, Added: start, By: "ann", Raw: raw}
	update(t, s, func(tx fleet.Tx) error { return tx.PutDocument(d) })
	forged := *d
	forged.Raw = []byte("other")
	require.Error(t, s.Update(context.Background(), func(tx fleet.Tx) error { return tx.PutDocument(&forged) }))
	list := func() (ds []fleet.Document) {
		view(t, s, func(r fleet.Reader) (err error) { ds, err = r.Documents("golden"); return err })
		return ds
	}
	require.Equal(t, []fleet.Document{*d}, list())
	d.Retired = start.Add(time.Hour)
	update(t, s, func(tx fleet.Tx) error { return tx.PutDocument(d) })
	require.Empty(t, list())
	view(t, s, func(r fleet.Reader) error {
		o, err := r.Document(d.Digest)
		require.NoError(t, err)
		require.Equal(t, d, o)
		return nil
	})
}

func people(t *testing.T, s fleet.Store) {
	e := &fleet.Exception{ID: "x1", Code: finding.UnexpectedComponent, Subject: "pci:1", Reason: "test rig", Asked: "ann", AskedAt: start, Expires: start.Add(time.Hour)}
	a := &fleet.Account{Name: "ann", Role: fleet.Operator, Secret: []byte{1, 2}, Created: start}
	update(t, s, func(tx fleet.Tx) error { return errors.Join(tx.PutException(e), tx.PutAccount(a)) })
	e.Approved = "bob"
	update(t, s, func(tx fleet.Tx) error { return tx.PutException(e) })
	view(t, s, func(r fleet.Reader) error {
		es, err := r.Exceptions(time.Time{})
		require.NoError(t, err)
		require.Equal(t, []fleet.Exception{*e}, es)
		got, err := r.Account("ann")
		require.NoError(t, err)
		require.Equal(t, a, got)
		_, err = r.Account("eve")
		require.ErrorIs(t, err, fleet.ErrNotFound)
		return nil
	})
}

func auditLog(t *testing.T, s fleet.Store) {
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for w := range 5 {
		wg.Go(func() {
			for i := range 10 {
				errs <- s.Update(context.Background(), func(tx fleet.Tx) error {
					_, err := tx.Append(auditlog.Entry{At: start, Actor: fmt.Sprint("worker ", w), Action: "enrol", Subject: fmt.Sprint(i)})
					return err
				})
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	var all []auditlog.Entry
	view(t, s, func(r fleet.Reader) (err error) { all, err = r.AuditLog(0, 100); return err })
	require.Len(t, all, 50)
	view(t, s, func(r fleet.Reader) error {
		seq, hash, err := r.AuditHead()
		require.Equal(t, all[49].Hash, hash)
		require.Equal(t, int64(50), seq)
		return err
	})
	require.NoError(t, auditlog.Check(0, "", all))
	require.NoError(t, auditlog.Check(20, all[19].Hash, all[20:]))
	all[7].Actor = "somebody else"
	require.ErrorIs(t, auditlog.Check(0, "", all), auditlog.ErrBroken)
}

func rollback(t *testing.T, s fleet.Store) {
	stop := errors.New("stop")
	err := s.Update(context.Background(), func(tx fleet.Tx) error {
		require.NoError(t, tx.PutHost(host(1)))
		require.NoError(t, tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "x"}))
		_, err := tx.Append(auditlog.Entry{At: start, Action: "enrol"})
		require.NoError(t, err)
		return stop
	})
	require.ErrorIs(t, err, stop)
	view(t, s, func(r fleet.Reader) error {
		_, err := r.Host("h001")
		require.ErrorIs(t, err, fleet.ErrNotFound)
		log, err := r.AuditLog(0, 10)
		require.Empty(t, log)
		return err
	})
	ran := work(t, s, time.Second, func(fleet.Job) (func(fleet.Tx) error, error) { return nil, nil })
	require.Empty(t, ran, "a job of a transaction that was undone")
}

func prune(t *testing.T, s fleet.Store) {
	for i := range 5 {
		r := result("h001", i)
		update(t, s, func(tx fleet.Tx) error {
			return errors.Join(tx.PutEvidence(&fleet.Evidence{Digest: r.Evidence, Host: "h001", Received: r.At, Status: fleet.Accepted}), tx.PutResult(r))
		})
	}
	var n int64
	update(t, s, func(tx fleet.Tx) (err error) {
		n, err = tx.Prune(start.Add(101*time.Hour), start.Add(100*time.Hour), 1000)
		return err
	})
	require.EqualValues(t, 4*3, n, "results, what says that they were judged, and evidence; the last stay, however old they are")
	view(t, s, func(r fleet.Reader) error {
		_, err := r.Evidence("h001-d4")
		require.NoError(t, err)
		_, err = r.Evidence("h001-d0")
		require.ErrorIs(t, err, fleet.ErrNotFound)
		return nil
	})
}

// work runs jobs for a while and returns the keys of those that ran, with how often.
func work(t testing.TB, s fleet.Store, d time.Duration, h func(fleet.Job) (func(fleet.Tx) error, error)) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var mu sync.Mutex
	ran := map[string]int{}
	require.NoError(t, s.Work(ctx, fleet.Workers{Parallel: 4, Handlers: map[fleet.Kind]fleet.Handler{fleet.Appraise: func(_ context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
		mu.Lock()
		ran[j.Key]++
		mu.Unlock()
		return h(j)
	}}}))
	return ran
}

// notYet is an error that asks for a job to come back.
type notYet struct{}

func (notYet) Error() string        { return "not yet" }
func (notYet) Later() time.Duration { return time.Millisecond }

// turns is about a job whose turn has not come: it comes again, and such tries are
// none of those that it has.
func turns(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error { return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "patient", Tries: 1}) })
	tries := 0
	ran := work(t, s, 8*time.Second, func(fleet.Job) (func(fleet.Tx) error, error) {
		if tries++; tries < 3 {
			return nil, notYet{}
		}
		return nil, nil
	})
	require.Equal(t, map[string]int{"patient": 3}, ran)
}

func jobs(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error {
		for i := range 20 {
			if err := tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: fmt.Sprint(i)}, fleet.Job{Kind: fleet.Appraise, Key: fmt.Sprint(i), Data: []byte(`{"again":true}`)}); err != nil {
				return err
			}
		}
		return nil
	})
	ran := work(t, s, 4*time.Second, func(j fleet.Job) (func(fleet.Tx) error, error) {
		if j.Key == "7" {
			panic("one machine's evidence")
		}
		return func(tx fleet.Tx) error {
			r := result("h001", 0)
			r.ID, r.Evidence = j.Key, j.Key
			return tx.PutResult(r)
		}, nil
	})
	for i := range 20 {
		if i != 7 {
			require.Equal(t, 1, ran[fmt.Sprint(i)], i)
		}
	}
	view(t, s, func(r fleet.Reader) error {
		rs, err := r.Results("h001", time.Time{}, 100)
		require.Len(t, rs, 19, "one result of each job, and none of the one that panics")
		return err
	})
}

func failing(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error { return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "x"}) })
	tried := 0
	ran := work(t, s, 7*time.Second, func(fleet.Job) (func(fleet.Tx) error, error) {
		if tried++; tried == 1 {
			return nil, errors.New("the disk is full")
		}
		return func(tx fleet.Tx) error { return tx.PutHost(host(1)) }, nil
	})
	require.Equal(t, map[string]int{"x": 2}, ran, "tried again")
	require.Equal(t, "node-001", get(t, s, "h001").Name)
}

// atOnce has a job's effect fail after it was made: nothing of it stays, and the
// job is done again.
func atOnce(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error { return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "x"}) })
	tried := 0
	work(t, s, 7*time.Second, func(fleet.Job) (func(fleet.Tx) error, error) {
		tried++
		first := tried == 1
		return func(tx fleet.Tx) error {
			h := host(tried)
			if err := tx.PutHost(h); err != nil {
				return err
			}
			if first {
				return errors.New("the connection broke")
			}
			return nil
		}, nil
	})
	view(t, s, func(r fleet.Reader) error {
		hs, err := r.Hosts(fleet.HostQuery{})
		require.Len(t, hs, 1)
		require.Equal(t, "h002", hs[0].ID)
		return err
	})
}
