// Package queue runs a fleet's jobs with River, on whichever database the store
// is in. Nothing else of the project knows River.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/assay-hw/assay/fleet"
)

// attempts is how often a job is tried; River waits for the fourth power of the
// count in seconds in between.
const attempts = 6

// payload is a job as River stores it. The kind is outside of it.
type payload struct {
	kind fleet.Kind
	Key  string          `json:"key" river:"unique"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Kind is under what River knows the job.
func (p payload) Kind() string { return string(p.kind) }

// Update runs a function in a transaction of the database and of the store.
type Update[T any] func(ctx context.Context, f func(tx T, s fleet.Tx) error) error

// Queue runs jobs of one store. T is the database's transaction.
type Queue[T any] struct {
	driver   riverdriver.Driver[T]
	inserter *river.Client[T]
	update   Update[T]
	complete func(ctx context.Context, tx T, job *river.Job[payload]) error
}

// New makes a queue. D is the type of the driver, which River asks for.
func New[D riverdriver.Driver[T], T any](driver D, update Update[T]) (*Queue[T], error) {
	c, err := river.NewClient[T](driver, &river.Config{Logger: silent})
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	complete := func(ctx context.Context, tx T, job *river.Job[payload]) error {
		_, err := river.JobCompleteTx[D](ctx, tx, job)
		return err
	}
	return &Queue[T]{driver, c, update, complete}, nil
}

// River logs what the store reports anyway.
var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// Migrate makes or renews River's tables.
func (q *Queue[T]) Migrate(ctx context.Context) error {
	m, err := rivermigrate.New(q.driver, &rivermigrate.Config{Logger: silent})
	if err == nil {
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		return fmt.Errorf("queue: migrate: %w", err)
	}
	return nil
}

// Enqueue adds jobs in a transaction. A job that waits already is not added.
func (q *Queue[T]) Enqueue(ctx context.Context, tx T, jobs []fleet.Job) error {
	if len(jobs) == 0 {
		return nil
	}
	type id struct {
		kind fleet.Kind
		key  string
	}
	seen := map[id]bool{} // River refuses a batch that has a job twice
	var params []river.InsertManyParams
	for _, j := range jobs {
		if !seen[id{j.Kind, j.Key}] {
			seen[id{j.Kind, j.Key}] = true
			params = append(params, river.InsertManyParams{Args: payload{j.Kind, j.Key, j.Data}, InsertOpts: options(j)})
		}
	}
	_, err := q.inserter.InsertManyTx(ctx, tx, params)
	return err
}

func options(j fleet.Job) *river.InsertOpts {
	o := &river.InsertOpts{Queue: j.Queue, ScheduledAt: j.After, MaxAttempts: attempts}
	if j.Tries > 0 {
		o.MaxAttempts = j.Tries
	}
	o.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}
	return o
}

// Waiting is how many jobs could run now and have no worker yet.
func (q *Queue[T]) Waiting(ctx context.Context) (int, error) {
	n, err := q.driver.GetExecutor().JobCountByState(ctx, &riverdriver.JobCountByStateParams{State: rivertype.JobStateAvailable})
	if err != nil {
		return 0, fmt.Errorf("queue: %w", err)
	}
	return n, nil
}

// Orphaned gives jobs free that were in hand when the one process that works on a
// store ended. It is for stores that have no other process.
const Orphaned = `UPDATE river_job SET state = 'available' WHERE state = 'running'`

// Counting is the query for how many jobs of a kind are in one of River's states.
// Jobs that were done are left out: there are many, and an index finds the others.
const Counting = `SELECT kind, state, count(*) FROM river_job WHERE state <> 'completed' GROUP BY kind, state`

// Rows are what a store's driver gives for a query.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// Count reads what Counting gave: jobs in River's states, under what these mean to a
// fleet.
func Count(rows Rows) (map[fleet.Kind]map[string]int64, error) {
	out := map[fleet.Kind]map[string]int64{}
	for rows.Next() {
		var kind fleet.Kind
		var state string
		var n int64
		if err := rows.Scan(&kind, &state, &n); err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		if out[kind] == nil {
			out[kind] = map[string]int64{}
		}
		out[kind][status(state)] += n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	return out, nil
}

func status(state string) string {
	switch rivertype.JobState(state) {
	case rivertype.JobStateRunning:
		return "running"
	case rivertype.JobStateRetryable:
		return "failed"
	case rivertype.JobStateDiscarded, rivertype.JobStateCancelled:
		return "given up"
	}
	return "waiting"
}

// Work runs jobs until the context ends, and lets running ones finish.
func (q *Queue[T]) Work(ctx context.Context, w fleet.Workers) error {
	c, err := river.NewClient(q.driver, q.config(w))
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if err := c.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), orElse(w.Timeout, defaultTimeout))
	defer cancel()
	if err := c.Stop(stop); err != nil {
		return fmt.Errorf("queue: stop: %w", errors.Join(err, c.StopAndCancel(context.WithoutCancel(ctx))))
	}
	return nil
}

const (
	defaultTimeout = 2 * time.Minute
	defaultRescue  = 10 * time.Minute
)

func orElse(d, other time.Duration) time.Duration {
	if d <= 0 {
		return other
	}
	return d
}

func (q *Queue[T]) config(w fleet.Workers) *river.Config {
	c := &river.Config{
		Logger: silent, Workers: river.NewWorkers(), Queues: map[string]river.QueueConfig{},
		JobTimeout: orElse(w.Timeout, defaultTimeout), RescueStuckJobsAfter: orElse(w.Rescue, defaultRescue),
		CompletedJobRetentionPeriod: time.Hour, FetchPollInterval: time.Second, FetchCooldown: 20 * time.Millisecond,
	}
	parallel := w.Parallel
	if parallel <= 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	c.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: parallel * ahead}
	for name, n := range w.Queues {
		c.Queues[name] = river.QueueConfig{MaxWorkers: n}
	}
	turn := make(chan struct{}, parallel)
	for kind, h := range w.Handlers {
		h := inTurn(turn, h)
		river.AddWorkerArgs(c.Workers, payload{kind: kind}, river.WorkFunc(func(ctx context.Context, j *river.Job[payload]) error {
			return q.do(ctx, kind, h, w, j)
		}))
	}
	for kind, every := range w.Periodic {
		c.PeriodicJobs = append(c.PeriodicJobs, river.NewPeriodicJob(river.PeriodicInterval(every), func() (river.JobArgs, *river.InsertOpts) {
			return payload{kind: kind, Key: string(kind)}, options(fleet.Job{Kind: kind})
		}, &river.PeriodicJobOpts{RunOnStart: true}))
	}
	return c
}

// ahead is how many jobs are fetched for each that runs: River fetches only so often.
const ahead = 8

// inTurn has so many handlers of the default queue run at the same time as turn has
// room for. Other queues are short already, and wait for somebody else.
func inTurn(turn chan struct{}, h fleet.Handler) fleet.Handler {
	return func(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
		if j.Queue != river.QueueDefault {
			return h(ctx, j)
		}
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		defer func() { <-turn }()
		return h(ctx, j)
	}
}

// later is an error of a handler whose turn has not come. The job is tried again
// after that time, and this try does not count.
type later interface {
	error
	Later() time.Duration
}

// do runs one job. Its effects and its end are one transaction.
func (q *Queue[T]) do(ctx context.Context, kind fleet.Kind, h fleet.Handler, w fleet.Workers, j *river.Job[payload]) error {
	job := fleet.Job{Kind: kind, Key: j.Args.Key, Data: j.Args.Data, Queue: j.Queue}
	effect, err := guarded(ctx, h, job)
	if l, ok := errors.AsType[later](err); ok {
		return river.JobSnooze(l.Later())
	}
	if err != nil {
		if j.Attempt < j.MaxAttempts || w.GiveUp == nil {
			return err
		}
		effect = w.GiveUp(job, err)
	}
	return q.update(ctx, func(tx T, s fleet.Tx) error {
		if effect != nil {
			if err := effect(s); err != nil {
				return err
			}
		}
		return q.complete(ctx, tx, j)
	})
}

// guarded turns a panic of a handler into an error: one machine's evidence must
// not stop the others.
func guarded(ctx context.Context, h fleet.Handler, j fleet.Job) (effect func(fleet.Tx) error, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s %s: panic: %v", j.Kind, j.Key, p)
		}
	}()
	return h(ctx, j)
}
