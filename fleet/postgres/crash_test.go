package postgres_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/storetest"
)

// The test program is also the processes that are killed.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Getenv("ASSAY_TEST_ROLE") {
	case "worker":
		persist(ctx, worker)
	case "intake":
		persist(ctx, intake)
	default:
		os.Exit(m.Run())
	}
}

// persist does what a service manager does: it starts again what ended.
func persist(ctx context.Context, run func(context.Context, fleet.Store) error) {
	for ctx.Err() == nil {
		s, err := postgres.Open(ctx, os.Getenv("ASSAY_TEST_STORE"))
		if err == nil {
			err = run(ctx, s)
			_ = s.Close()
		}
		if err == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func worker(ctx context.Context, s fleet.Store) error {
	return s.Work(ctx, fleet.Workers{Parallel: 4, Timeout: 3 * time.Second, Rescue: 5 * time.Second, Handlers: map[fleet.Kind]fleet.Handler{
		fleet.Appraise: func(_ context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
			time.Sleep(10 * time.Millisecond) // the appraisal
			return func(tx fleet.Tx) error {
				return tx.PutResult(&fleet.Result{ID: "r-" + j.Key + fmt.Sprint("-", os.Getpid(), "-", time.Now().UnixNano()), Host: "h", Evidence: j.Key, At: time.Now()})
			}, nil
		},
	}})
}

// intake takes evidence in and says so on standard output when it is safe.
func intake(ctx context.Context, s fleet.Store) error {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%d-%d-%d", os.Getpid(), time.Now().UnixNano(), i)
		err := s.Update(ctx, func(tx fleet.Tx) error {
			if err := tx.PutEvidence(&fleet.Evidence{Digest: key, Host: "h", Received: time.Now(), Status: fleet.Accepted}); err != nil {
				return err
			}
			return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: key})
		})
		if err != nil {
			return err
		}
		fmt.Println(key)
	}
	return nil
}

// process is a child that is killed and started again.
type process struct {
	role, url string
	cmd       *exec.Cmd
	lines     func(string)
	read      sync.WaitGroup
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), "ASSAY_TEST_ROLE="+p.role, "ASSAY_TEST_STORE="+p.url)
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	p.read.Go(func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if p.lines != nil && strings.Count(sc.Text(), "-") == 2 {
				p.lines(sc.Text())
			}
		}
	})
}

func (p *process) end(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(sig)
	p.read.Wait()
	_ = p.cmd.Wait() // it was told to end
}

// TestCrashes kills a worker, the intake and the database in turn, under load.
// Every bundle that was accepted ends with exactly one result.
func TestCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	c := storetest.NewCluster(t)
	url := c.Database(t, "crash")
	var mu sync.Mutex
	accepted := map[string]bool{}
	in := &process{role: "intake", url: url, lines: func(key string) { mu.Lock(); accepted[key] = true; mu.Unlock() }}
	workers := []*process{{role: "worker", url: url}, {role: "worker", url: url}, {role: "worker", url: url}}
	for _, p := range append(workers, in) {
		p.start(t)
	}
	wait := func() { time.Sleep(2 * time.Second) }
	wait()
	workers[0].end(syscall.SIGKILL)
	wait()
	workers[0].start(t)
	in.end(syscall.SIGKILL)
	wait()
	in.start(t)
	wait()
	c.Kill()
	wait()
	c.Start(t)
	wait()
	workers[1].end(syscall.SIGKILL)
	wait()
	in.end(syscall.SIGTERM)

	s, err := postgres.Open(t.Context(), url)
	require.NoError(t, err)
	defer s.Close()
	require.NotEmpty(t, accepted)
	results := func() (out map[string]int) {
		out = map[string]int{}
		require.NoError(t, s.View(t.Context(), func(r fleet.Reader) error {
			before := time.Time{}
			for {
				rs, err := r.Results("h", before, 1000)
				for _, x := range rs {
					out[x.Evidence]++
					before = x.At
				}
				if err != nil || len(rs) < 1000 {
					return err
				}
			}
		}))
		return out
	}
	require.Eventually(t, func() bool {
		got := results()
		for key := range accepted {
			if got[key] == 0 {
				return false
			}
		}
		return true
	}, 2*time.Minute, 500*time.Millisecond, "accepted evidence without a result")
	for _, p := range []*process{workers[0], workers[2]} {
		p.end(syscall.SIGTERM)
	}
	lost, doubled := 0, 0
	got := results()
	for key := range accepted {
		if got[key] == 0 {
			lost++
		}
	}
	for _, n := range got {
		if n > 1 {
			doubled++
		}
	}
	t.Logf("%d accepted, %d results, %d lost, %d doubled", len(accepted), len(got), lost, doubled)
	require.Zero(t, lost)
	require.Zero(t, doubled)
}
