package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/outbox"
)

func outboxKeeps(t *testing.T, s fleet.Store) {
	e := outbox.Entry{Sink: "mail", Subject: "h001", At: start, Doc: []byte(`{"state":"fail"}`)}
	other := outbox.Entry{Sink: "hook", Subject: "h001", At: start.Add(time.Minute), Doc: []byte(`{}`)}
	update(t, s, func(tx fleet.Tx) error { return errors.Join(tx.PutTold(e), tx.PutTold(other)) })
	told := func(tx fleet.Tx) []outbox.Entry {
		es, err := tx.Told("h001")
		require.NoError(t, err)
		return es
	}
	update(t, s, func(tx fleet.Tx) error {
		require.Equal(t, []outbox.Entry{other, e}, told(tx))
		e.At = start.Add(time.Hour)
		return tx.PutTold(e)
	})
	update(t, s, func(tx fleet.Tx) error {
		es, err := tx.ToldBefore("mail", start.Add(time.Hour), 10)
		require.Empty(t, es, "it was told again since")
		require.NoError(t, err)
		es, err = tx.ToldBefore("mail", start.Add(2*time.Hour), 10)
		require.Equal(t, []outbox.Entry{e}, es)
		require.NoError(t, err)
		return tx.DropTold("hook", "h001")
	})
	update(t, s, func(tx fleet.Tx) error {
		require.Equal(t, []outbox.Entry{e}, told(tx))
		return nil
	})
	stop := errors.New("stop")
	require.ErrorIs(t, s.Update(context.Background(), func(tx fleet.Tx) error {
		require.NoError(t, tx.DropTold("mail", "h001"))
		require.NoError(t, tx.PutWaiting(outbox.Entry{Sink: "mail", Subject: "h001", Batch: "b", At: start, Doc: []byte(`{}`)}))
		return stop
	}), stop)
	update(t, s, func(tx fleet.Tx) error {
		require.Len(t, told(tx), 1, "what was undone was not told")
		_, n, err := tx.Waiting("b", 10)
		require.Zero(t, n)
		return err
	})
}

func batches(t *testing.T, s fleet.Store) {
	waits := func(batch, subject string, after time.Duration) outbox.Entry {
		return outbox.Entry{Sink: "mail", Subject: subject, Batch: batch, At: start.Add(after), Doc: []byte(`{"n":1}`)}
	}
	gather := func(sink, kind, id string, now, until time.Duration) (batch string) {
		update(t, s, func(tx fleet.Tx) (err error) {
			batch, err = tx.Gather(sink, kind, id, start.Add(now), start.Add(until))
			return err
		})
		return batch
	}
	require.Equal(t, "b1", gather("mail", "fail", "b1", 0, time.Minute))
	require.Equal(t, "b1", gather("mail", "fail", "b2", 30*time.Second, 2*time.Minute), "open")
	require.Equal(t, "b3", gather("mail", "stale", "b3", 0, time.Minute), "of another kind")
	require.Equal(t, "b4", gather("hook", "fail", "b4", 0, time.Minute), "of another sink")
	require.Equal(t, "b5", gather("mail", "fail", "b5", time.Minute, 2*time.Minute), "its time is over")
	update(t, s, func(tx fleet.Tx) error { return tx.CloseBatch("b5") })
	require.Equal(t, "b6", gather("mail", "fail", "b6", time.Minute, 2*time.Minute), "closed")

	update(t, s, func(tx fleet.Tx) error {
		return errors.Join(tx.PutWaiting(waits("b1", "h002", 0)), tx.PutWaiting(waits("b1", "h001", 0)), tx.PutWaiting(waits("b6", "h001", time.Second)))
	})
	update(t, s, func(tx fleet.Tx) error {
		es, n, err := tx.Waiting("b1", 1)
		require.NoError(t, err)
		require.Equal(t, 2, n)
		require.Equal(t, []outbox.Entry{waits("b1", "h001", 0)}, es)
		for batch, want := range map[string]bool{"b1": false, "b6": true, "none": false} {
			behind, err := tx.Behind(batch)
			require.NoError(t, err)
			require.Equal(t, want, behind, batch)
		}
		oldest, err := tx.Oldest("mail")
		require.NoError(t, err)
		require.True(t, start.Equal(oldest))
		oldest, err = tx.Oldest("hook")
		require.True(t, oldest.IsZero())
		return errors.Join(err, tx.DropWaiting("mail", "h002"), tx.DropBatch("b6"))
	})
	update(t, s, func(tx fleet.Tx) error {
		_, n, err := tx.Waiting("b1", 10)
		require.Equal(t, 1, n)
		_, m, err2 := tx.Waiting("b6", 10)
		require.Zero(t, m)
		return errors.Join(err, err2)
	})
	require.Equal(t, "b7", gather("mail", "fail", "b7", time.Minute, 2*time.Minute), "a batch that is gone takes nothing in")
}

// batchesClose has many put things into one batch while it is closed and told:
// each thing is told once.
func batchesClose(t *testing.T, s fleet.Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var told []string
	done := map[string]bool{} // batches, and whether somebody tells them
	tell := func() {
		mu.Lock()
		ids := slices.Collect(maps.Keys(done))
		ids = slices.DeleteFunc(ids, func(id string) bool { return done[id] })
		for _, id := range ids {
			done[id] = true
		}
		mu.Unlock()
		for _, id := range ids {
			var es []outbox.Entry
			update(t, s, func(tx fleet.Tx) (err error) {
				if err := tx.CloseBatch(id); err != nil {
					return err
				}
				es, _, err = tx.Waiting(id, 1000)
				return err
			})
			update(t, s, func(tx fleet.Tx) error { return tx.DropBatch(id) })
			mu.Lock()
			for _, e := range es {
				told = append(told, e.Subject)
			}
			mu.Unlock()
		}
	}
	for w := range 4 {
		wg.Go(func() {
			for i := range 15 {
				subject := fmt.Sprintf("h%d-%d", w, i)
				batch, err := gathered(s, subject)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				done[batch] = done[batch] || false
				mu.Unlock()
				if i%5 == w {
					tell()
				}
			}
		})
	}
	wg.Wait()
	tell()
	slices.Sort(told)
	require.Len(t, told, 60, "what came into a batch that was closed is not told")
	require.Equal(t, told, slices.Compact(slices.Clone(told)), "told twice")
}

// gathered puts something about a subject into the batch that is open.
func gathered(s fleet.Store, subject string) (batch string, err error) {
	err = s.Update(context.Background(), func(tx fleet.Tx) (err error) {
		if batch, err = tx.Gather("mail", "fail", "b-"+subject, start, start.Add(time.Hour)); err != nil {
			return err
		}
		return tx.PutWaiting(outbox.Entry{Sink: "mail", Subject: subject, Batch: batch, At: start, Doc: []byte(`{}`)})
	})
	return batch, err
}

// endsInOrder has a process told to end while a job runs: the job is finished, and
// what it does is kept.
func endsInOrder(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error { return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "x"}) })
	ctx, end := context.WithCancel(context.Background())
	defer end()
	require.NoError(t, s.Work(ctx, fleet.Workers{Handlers: map[fleet.Kind]fleet.Handler{fleet.Appraise: func(job context.Context, _ fleet.Job) (func(fleet.Tx) error, error) {
		end()
		if job.Err() != nil {
			return nil, job.Err()
		}
		return func(tx fleet.Tx) error { return tx.PutHost(host(1)) }, nil
	}}}))
	require.Equal(t, "node-001", get(t, s, "h001").Name)
	n, err := s.Jobs(context.Background())
	require.NoError(t, err)
	require.Empty(t, n, "nothing is left to do")
}

func jobsCounted(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error {
		return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "1"}, fleet.Job{Kind: fleet.Appraise, Key: "2"}, fleet.Job{Kind: fleet.Alert, Key: "3", After: time.Now().Add(time.Hour)})
	})
	n, err := s.Jobs(context.Background())
	require.NoError(t, err)
	require.Equal(t, map[fleet.Kind]map[string]int64{fleet.Appraise: {"waiting": 2}, fleet.Alert: {"waiting": 1}}, n)
	work(t, s, 2*time.Second, func(j fleet.Job) (func(fleet.Tx) error, error) {
		if j.Key == "1" {
			return nil, errors.New("the disk is full")
		}
		return nil, nil
	})
	n, err = s.Jobs(context.Background())
	require.NoError(t, err)
	require.EqualValues(t, 1, n[fleet.Appraise]["failed"]+n[fleet.Appraise]["waiting"], "it will be tried again: %v", n)
	require.EqualValues(t, 1, n[fleet.Alert]["waiting"])
}
