package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/fleet/storetest"
	"github.com/assay-hw/assay/internal/fixture"
)

// crew are the processes of a fleet's server. What ends is started again, as a
// service manager does, until it is told to rest.
type crew struct {
	t    *testing.T
	mu   sync.Mutex
	down map[string]bool
	by   map[string]*exec.Cmd
	wg   sync.WaitGroup
	log  io.Writer
}

func newCrew(t *testing.T) *crew {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	c := &crew{t: t, down: map[string]bool{}, by: map[string]*exec.Cmd{}, log: f}
	t.Cleanup(func() {
		c.rest()
		_ = f.Close()
		if raw, err := os.ReadFile(f.Name()); err == nil && t.Failed() {
			t.Logf("%.8000s", raw)
		}
	})
	return c
}

// run keeps a process running. command makes it each time.
func (c *crew) run(name string, command func() *exec.Cmd) {
	c.wg.Go(func() {
		for {
			c.mu.Lock()
			if c.down[name] {
				c.mu.Unlock()
				return
			}
			cmd := command()
			cmd.Stdout, cmd.Stderr = c.log, c.log
			err := cmd.Start()
			c.by[name] = cmd
			c.mu.Unlock()
			if err == nil {
				err = cmd.Wait()
			}
			fmt.Fprintf(c.log, "%s ended: %v\n", name, err)
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// kill ends a process at once. It is started again.
func (c *crew) kill(name string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.NotNil(c.t, c.by[name], name)
	_ = c.by[name].Process.Kill() // it may have ended by itself
}

// rest ends all processes in order.
func (c *crew) rest() {
	c.mu.Lock()
	for name, cmd := range c.by {
		c.down[name] = true
		if cmd.Process != nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// senders are machines that send evidence all the time, and remember what the server
// said is safe.
type senders struct {
	t    *testing.T
	url  string
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	accepted map[string]bool
	refused  map[int]int
}

const senderCount = 6

// known puts machines and their tokens into a store.
func known(t *testing.T, st fleet.Store) (tokens []string) {
	t.Helper()
	s := server.New(server.Config{Store: st})
	for i := range senderCount {
		h := &fleet.Host{ID: fmt.Sprintf("h%d", i), Name: fmt.Sprintf("node-%d", i), Mode: fleet.ByAgent, Interval: time.Microsecond, NextDue: time.Now(), State: fleet.Enrolled}
		h.Identity.EKSHA256 = h.ID
		require.NoError(t, st.Update(t.Context(), func(tx fleet.Tx) error { return tx.PutHost(h) }))
		token, err := s.AddToken(t.Context(), "test", h.ID, time.Now().Add(time.Hour))
		require.NoError(t, err)
		tokens = append(tokens, token)
	}
	return tokens
}

func newSenders(t *testing.T, url string, tokens []string) *senders {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &senders{t: t, url: url, stop: stop, accepted: map[string]bool{}, refused: map[int]int{}}
	for i, token := range tokens {
		c, err := client.New(url, token, "")
		require.NoError(t, err)
		s.wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if err := s.send(ctx, c, fmt.Sprintf("h%d", i), n); err != nil {
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	t.Cleanup(s.end)
	return s
}

func (s *senders) end() { s.stop(); s.wg.Wait() }

func (s *senders) send(ctx context.Context, c *client.Client, host string, n int) error {
	next, err := c.Next(ctx, host, 2*time.Second)
	if err != nil || next.Audit == nil {
		return err
	}
	zip, err := fixture.Zip(map[string][]byte{"proc/uptime": fmt.Appendf(nil, "%d.00 1.00\n", n), "proc/cmdline": []byte(host + "\n")})
	if err != nil {
		return err
	}
	got, err := c.Send(ctx, host, next.Audit, zip)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := (*client.Problem)(nil); errors.As(err, &p) {
		s.refused[p.Status]++
	}
	if err == nil {
		s.accepted[got.Evidence] = true
	}
	return err
}

// wait is until so much more was accepted.
func (s *senders) wait(more int) {
	s.t.Helper()
	count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return len(s.accepted) }
	want := count() + more
	require.Eventually(s.t, func() bool { return count() >= want }, 2*time.Minute, 20*time.Millisecond, "the server takes nothing in: %v", s.refused)
}

// tally counts results by evidence.
func tally(ctx context.Context, st fleet.Store) (map[string]int, error) {
	out := map[string]int{}
	err := st.View(ctx, func(r fleet.Reader) error {
		at, id := time.Time{}, ""
		for {
			page, err := r.History(at, id, 1000)
			for _, x := range page {
				out[x.Evidence]++
				at, id = x.At, x.ID
			}
			if err != nil || len(page) < 1000 {
				return err
			}
		}
	})
	return out, err
}

// settled waits until all that was accepted has a result, and says how many have
// none, and how many more than one.
func (s *senders) settled(results func() (map[string]int, error)) {
	t := s.t
	t.Helper()
	var got map[string]int
	lost := func() (n int) {
		for e := range s.accepted {
			if got[e] == 0 {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool {
		var err error
		got, err = results()
		return err == nil && lost() == 0
	}, 3*time.Minute, time.Second, "accepted evidence without a result")
	doubled := 0
	for _, n := range got {
		if n > 1 {
			doubled++
		}
	}
	t.Logf("%d accepted, %d judged, %d lost, %d doubled; refused: %v", len(s.accepted), len(got), lost(), doubled, s.refused)
	require.Zero(t, doubled)
	require.GreaterOrEqual(t, len(got), len(s.accepted))
}

// freePort is one that nobody listens on. Processes that are killed come back to it.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func ready(t *testing.T, url string) {
	t.Helper()
	require.Eventually(t, func() bool {
		res, err := http.Get(url + "/healthz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the server does not start")
}

// TestCrashSQLite kills a server, with everything in one process and one file, while
// evidence comes in.
func TestCrashSQLite(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	dir := filepath.Join(t.TempDir(), "fleet")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	file := filepath.Join(dir, "fleet.db")
	st, err := sqlite.Open(t.Context(), file)
	require.NoError(t, err)
	tokens := known(t, st)
	require.NoError(t, st.Close())
	c, at := newCrew(t), freePort(t)
	c.run("server", func() *exec.Cmd {
		return assayProgram(context.Background(), "fleet", "serve", "--listen", at, "--data", dir, "--workers", "2")
	})
	url := "http://" + at
	ready(t, url)
	s := newSenders(t, url, tokens)
	for range 5 {
		s.wait(100)
		c.kill("server")
	}
	s.wait(100)
	s.end()
	// The file is the server's alone; what is in it can be read beside it.
	db, err := sql.Open("sqlite", "file:"+file+"?mode=ro")
	require.NoError(t, err)
	defer db.Close()
	s.settled(func() (map[string]int, error) {
		rows, err := db.QueryContext(t.Context(), `SELECT json_extract(doc, '$.evidence'), count(*) FROM result GROUP BY 1`)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		out := map[string]int{}
		for rows.Next() {
			var e string
			var n int
			if err := rows.Scan(&e, &n); err != nil {
				return nil, err
			}
			out[e] = n
		}
		return out, rows.Err()
	})
}

// TestCrashPostgreSQL kills a worker, the process that takes evidence in, and the
// database, in turn, while evidence comes in.
func TestCrashPostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	pg := storetest.NewCluster(t)
	db, dir := pg.Database(t, "crash"), t.TempDir()
	st, err := postgres.Open(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	tokens := known(t, st)
	c, at := newCrew(t), freePort(t)
	part := func(role string, more ...string) func() *exec.Cmd {
		return func() *exec.Cmd {
			return assayProgram(context.Background(), append([]string{"fleet", "serve", "--store", db, "--data", dir, "--role", role, "--timeout", "3s"}, more...)...)
		}
	}
	c.run("api", part("api", "--listen", at))
	for i := range 3 {
		c.run(fmt.Sprint("worker ", i), part("worker", "--workers", "2"))
	}
	url := "http://" + at
	ready(t, url)
	s := newSenders(t, url, tokens)
	for i := range 3 {
		s.wait(15)
		c.kill(fmt.Sprint("worker ", i))
		s.wait(15)
		c.kill("api")
		if i < 2 {
			s.wait(15)
			pg.Kill()
			time.Sleep(time.Second) // as long as somebody needs to notice
			pg.Start(t)
		}
	}
	s.wait(15)
	s.end()
	s.settled(func() (map[string]int, error) { return tally(t.Context(), st) })
	shared(t, db)
}

// shared checks that more than one worker judged.
func shared(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(DISTINCT who) FROM river_job, unnest(attempted_by) who WHERE kind = $1`, string(fleet.Appraise)).Scan(&n))
	require.Greater(t, n, 1, "one worker did all")
}

// TestCutOff has a worker on another host, whose link goes down while it judges and
// comes up again later: what it had in hand is judged by another one, and what it
// then still says does not count twice.
func TestCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a network namespace")
	}
	const host, there, here = "assay-cut", "10.213.77.2", "10.213.77.1"
	ip := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %v: %s", args, out)
		}
		return nil
	}
	t.Cleanup(func() { _ = ip("netns", "del", host) })
	for _, args := range [][]string{
		{"netns", "add", host},
		{"link", "add", "assay-c0", "type", "veth", "peer", "name", "assay-c1", "netns", host},
		{"addr", "add", here + "/30", "dev", "assay-c0"},
		{"link", "set", "assay-c0", "up"},
		{"-n", host, "addr", "add", there + "/30", "dev", "assay-c1"},
		{"-n", host, "link", "set", "assay-c1", "up"},
	} {
		if err := ip(args...); err != nil {
			t.Skipf("this machine allows no network namespaces: %v", err)
		}
	}
	pg := storetest.NewCluster(t)
	db, dir := pg.Database(t, "cut"), t.TempDir()
	far, err := relay(t, here+":0", pg.Address())
	require.NoError(t, err)
	st, err := postgres.Open(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	tokens := known(t, st)
	c, at := newCrew(t), freePort(t)
	serve := func(store, role string, more ...string) []string {
		return append([]string{"fleet", "serve", "--store", store, "--data", dir, "--role", role, "--timeout", "3s"}, more...)
	}
	c.run("api", func() *exec.Cmd { return assayProgram(context.Background(), serve(db, "api", "--listen", at)...) })
	c.run("near", func() *exec.Cmd { return assayProgram(context.Background(), serve(db, "worker", "--workers", "1")...) })
	c.run("far", func() *exec.Cmd {
		cmd := assayProgram(context.Background(), serve("postgres://assay@"+far+"/cut?sslmode=disable&connect_timeout=3", "worker", "--workers", "1")...)
		in := exec.Command("ip", append([]string{"netns", "exec", host, "bash", "-c", `exec -a assay "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)...)
		in.Env = cmd.Env
		return in
	})
	url := "http://" + at
	ready(t, url)
	s := newSenders(t, url, tokens)
	for range 3 {
		s.wait(30)
		require.NoError(t, ip("link", "set", "assay-c0", "down"))
		s.wait(30)
		require.NoError(t, ip("link", "set", "assay-c0", "up"))
	}
	s.wait(30)
	s.end()
	s.settled(func() (map[string]int, error) { return tally(t.Context(), st) })
	shared(t, db)
}

// relay passes connections on from an address to another one.
func relay(t *testing.T, from, to string) (string, error) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			for _, p := range [][2]net.Conn{{a, b}, {b, a}} {
				go func() { _, _ = io.Copy(p[0], p[1]); _ = p[0].Close() }()
			}
		}
	}()
	return l.Addr().String(), nil
}
