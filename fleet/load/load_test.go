package load

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/gob"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/fleet/storetest"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/manifest"
)

const (
	generating = "ASSAY_LOAD_GENERATE" // the process makes machines
	machines   = "ASSAY_LOAD_MACHINES"
	onStore    = "ASSAY_LOAD_STORE"
	batch      = 500
)

// The test program is also the process that makes machines, so that what it takes
// is not in the figures of the server.
func TestMain(m *testing.M) {
	if os.Getenv(generating) == "" {
		os.Exit(m.Run())
	}
	if err := generate(os.Stdin, os.Stdout); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "making machines:", err)
		os.Exit(1)
	}
}

// start is what the process that makes machines is told first.
type start struct {
	Plan      plan
	Key, Cert []byte
}

func generate(in io.Reader, out io.Writer) error {
	d := gob.NewDecoder(bufio.NewReader(in))
	w := bufio.NewWriterSize(out, 1<<20)
	e := gob.NewEncoder(w)
	var s start
	if err := d.Decode(&s); err != nil {
		return err
	}
	key, err := x509.ParseECPrivateKey(s.Key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(s.Cert)
	if err != nil {
		return err
	}
	m, err := newMaker(s.Plan, &softtpm.Maker{Key: key, Certificate: cert})
	if err != nil {
		return err
	}
	for {
		var q request
		if err := d.Decode(&q); err != nil {
			return err
		}
		if err := e.Encode(m.reply(q)); err != nil {
			return err
		}
		if !q.More {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// generator asks another process.
type generator struct {
	enc *gob.Encoder
	dec *gob.Decoder
}

// generators are as many as there are cores; a machine is always the same one's.
type generators []*generator

func newGenerators(t *testing.T, p plan, ca *softtpm.Maker) (gs generators) {
	t.Helper()
	for range runtime.NumCPU() {
		gs = append(gs, newGenerator(t, p, ca))
	}
	return gs
}

// ask gives the replies in the order of the requests.
func (gs generators) ask(t *testing.T, qs []request) []reply {
	t.Helper()
	out := make([]reply, len(qs))
	errs := make([]error, len(gs))
	var wg sync.WaitGroup
	for i, g := range gs {
		wg.Go(func() {
			var mine []request
			var at []int
			for j, q := range qs {
				if q.N%len(gs) == i {
					mine, at = append(mine, q), append(at, j)
				}
			}
			errs[i] = g.ask(mine, func(j int, r reply) { out[at[j]] = r })
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	return out
}

func newGenerator(t *testing.T, p plan, ca *softtpm.Maker) *generator {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), generating+"=1", "GOGC=400", "GOMAXPROCS=1"), os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		require.NoError(t, cmd.Wait())
	})
	key, err := x509.MarshalECPrivateKey(ca.Key)
	require.NoError(t, err)
	g := &generator{gob.NewEncoder(in), gob.NewDecoder(bufio.NewReaderSize(out, 1<<20))}
	require.NoError(t, g.enc.Encode(start{p, key, ca.Certificate.Raw}))
	return g
}

func (g *generator) ask(qs []request, take func(int, reply)) error {
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < len(qs) && err == nil; i++ {
			qs[i].More = i+1 < len(qs)
			err = g.enc.Encode(qs[i])
		}
		sent <- err
	}()
	for i := range qs {
		var r reply
		if err := g.dec.Decode(&r); err != nil {
			return err
		}
		if r.Err != "" {
			return errors.New(r.Err)
		}
		take(i, r)
	}
	return <-sent
}

// site is a server with everything that a fleet needs.
type site struct {
	*server.Server
	plan       plan
	dir        string
	generators generators
	mu         sync.Mutex
	clock      time.Time
}

func newSite(t *testing.T, p plan, store fleet.Store, dir string) *site {
	t.Helper()
	s := &site{plan: p, dir: dir, clock: labTime.Add(time.Minute)}
	ca, err := softtpm.NewMaker("Load TPM maker", labTime)
	require.NoError(t, err)
	cfg := server.Config{Store: store, EKDER: [][]byte{ca.Certificate.Raw}, Interval: 24 * time.Hour, Now: s.now}
	cert, err := ekcert.Parse(ca.Certificate.Raw)
	require.NoError(t, err)
	cfg.EKRoots = []*ekcert.Certificate{cert}
	cfg.Blobs, err = blob.OpenDirectory(filepath.Join(dir, "evidence"))
	require.NoError(t, err)
	keys := filepath.Join(filepath.FromSlash(root), "testdata", "keys")
	cfg.Trust, err = manifest.LoadTrust([]string{filepath.Join(keys, "trust")})
	require.NoError(t, err)
	s.Server = server.New(cfg)
	s.generators = newGenerators(t, s.plan, ca)
	m, err := newMaker(s.plan, ca)
	require.NoError(t, err)
	key, chain := vendor(t, keys)
	for board := range boards {
		_, signed, err := m.golden(board, func(raw []byte) ([]byte, error) { return manifest.Sign(raw, key, chain) })
		require.NoError(t, err)
		_, err = s.AddDocument(t.Context(), server.Who{Name: "load", Role: fleet.Operator}, signed)
		require.NoError(t, err)
	}
	return s
}

func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func vendor(t *testing.T, keys string) (*ecdsa.PrivateKey, []*x509.Certificate) {
	t.Helper()
	block := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(keys, name))
		require.NoError(t, err)
		b, _ := pem.Decode(raw)
		require.NotNil(t, b, name)
		return b.Bytes
	}
	cert, err := x509.ParseCertificate(block("vendor.pem"))
	require.NoError(t, err)
	any, err := x509.ParsePKCS8PrivateKey(block("vendor.key"))
	require.NoError(t, err)
	key, ok := any.(*ecdsa.PrivateKey)
	require.True(t, ok)
	return key, []*x509.Certificate{cert}
}

// figures are what the server took.
type figures struct {
	cpu, wall, database time.Duration
	audits              int
}

// audit has machines from to to audited once, and adds what the server took.
func (s *site) audit(t *testing.T, from, to int, keep bool, enrol bool, f *figures, database func() time.Duration) {
	t.Helper()
	for ; from < to; from += batch {
		var qs []request
		for n := from; n < min(to, from+batch); n++ {
			qs = append(qs, request{N: n, Keep: keep})
		}
		if enrol {
			hosts := s.generators.ask(t, qs)
			require.NoError(t, s.Store.Update(t.Context(), func(tx fleet.Tx) error {
				for i := range hosts {
					if err := tx.PutHost(&hosts[i].Host); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		cpu, wall, db := processCPU(t), time.Now(), database()
		for i := range qs {
			c, err := s.Nonce(t.Context(), fmt.Sprintf("h-%07d", qs[i].N))
			require.NoError(t, err)
			qs[i].Nonce = c.Nonce
		}
		f.cpu, f.wall, f.database = f.cpu+processCPU(t)-cpu, f.wall+time.Since(wall), f.database+database()-db
		zips := s.generators.ask(t, qs)
		cpu, wall, db = processCPU(t), time.Now(), database()
		s.take(t, qs, zips)
		f.cpu, f.wall, f.database = f.cpu+processCPU(t)-cpu, f.wall+time.Since(wall), f.database+database()-db
		f.audits += len(qs)
	}
}

// take takes evidence in, a few at the same time, and waits until all of it is
// judged.
func (s *site) take(t *testing.T, qs []request, zips []reply) {
	t.Helper()
	digests := make([]string, len(qs))
	errs := make([]error, len(qs))
	next := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range next {
				e, err := s.Intake(t.Context(), fmt.Sprintf("h-%07d", qs[i].N), qs[i].Nonce, zips[i].Zip, fmt.Sprintf("10.%d.0.9:40000", qs[i].N%7))
				if errs[i] = err; err == nil {
					digests[i] = e.Digest
				}
			}
		})
	}
	for i := range qs {
		next <- i
	}
	close(next)
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	for len(digests) > 0 {
		require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
			for len(digests) > 0 {
				e, err := r.Evidence(digests[len(digests)-1])
				if err != nil || e.Status == fleet.Accepted {
					return err
				}
				digests = digests[:len(digests)-1]
			}
			return nil
		}))
		if len(digests) > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func processCPU(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that this process had, in MiB.
func peak(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")))
			require.NoError(t, err)
			return kb >> 10
		}
	}
	return 0
}

// disk is what a directory takes: bytes, blocks and files.
func disk(t *testing.T, dir string) (size, blocks int64, files int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		size, files = size+i.Size(), files+1
		if st, ok := i.Sys().(*syscall.Stat_t); ok {
			blocks += st.Blocks * 512
		}
		return nil
	}))
	return size, blocks, files
}

// exact holds the states of all machines against what was done to them.
func (s *site) exact(t *testing.T, count int) {
	t.Helper()
	wrong, named := 0, map[tampering]int{}
	q := fleet.HostQuery{Limit: 5000}
	seen := 0
	for {
		var page []fleet.Host
		require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { page, err = r.Hosts(q); return err }))
		for _, h := range page {
			seen++
			var n int
			_, err := fmt.Sscanf(h.ID, "h-%d", &n)
			require.NoError(t, err)
			kind := s.plan.tampered(n)
			if (h.State == fleet.Pass) == (kind == honest) && h.State != fleet.Enrolled && h.State != fleet.Error {
				named[kind]++
				continue
			}
			if wrong++; wrong <= 10 {
				t.Errorf("%s, %s of board %d, is %s: %s", h.ID, kind, boardOf(n), h.State, s.against(t, h.ID))
			}
		}
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].Key(q.Sort)
	}
	require.Equal(t, count, seen)
	for k := honest; k < kinds; k++ {
		require.Positive(t, named[k], "no machine with %s in so small a fleet", k)
		t.Logf("%-40s %6d machines, all as they should be", k, named[k])
	}
	require.Zero(t, wrong, "machines in the wrong state")
}

func (s *site) against(t *testing.T, host string) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
		open, err := r.OpenFindings(fleet.FindingQuery{Host: host})
		for _, o := range open {
			fmt.Fprintf(&b, "\n    %s %s %s: want %.60s, got %.60s", o.Finding.Code, o.Finding.Severity, o.Finding.Subject, o.Finding.Want, o.Finding.Got)
		}
		return err
	}))
	return b.String()
}

// size is how many machines there are.
func size(t *testing.T) int {
	t.Helper()
	v := os.Getenv(machines)
	if v == "" {
		return 20 * int(kinds-1) // one of each kind
	}
	n, err := strconv.Atoi(v)
	require.NoError(t, err, machines)
	return n
}

func wanted(t *testing.T, store string) {
	t.Helper()
	if v := os.Getenv(onStore); v != "" && v != store {
		t.Skipf("%s=%s", onStore, v)
	}
}

func TestFleetSQLite(t *testing.T) {
	wanted(t, "sqlite")
	dir := t.TempDir()
	file := filepath.Join(dir, "db", "fleet.db")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	store, err := sqlite.Open(t.Context(), file)
	require.NoError(t, err)
	run(t, store, dir, func() time.Duration { return 0 }, func() int64 { n, _, _ := disk(t, filepath.Dir(file)); return n })
}

func TestFleetPostgreSQL(t *testing.T) {
	wanted(t, "postgres")
	c := storetest.NewCluster(t)
	store, err := postgres.Open(t.Context(), c.Database(t, "load"))
	require.NoError(t, err)
	run(t, store, t.TempDir(), func() time.Duration { return c.CPU(t) }, func() int64 { return c.Size(t, "load") })
}

// run audits a whole fleet, then a tenth of it once more, as on the next day.
func run(t *testing.T, store fleet.Store, dir string, database func() time.Duration, bytes func() int64) {
	n := size(t)
	s := newSite(t, planFor(n), store, dir)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Work(ctx, 0) }()
	var first, again figures
	part := n / 10
	s.audit(t, 0, part, true, true, &first, database)
	s.audit(t, part, n, false, true, &first, database)
	before, _, _ := disk(t, filepath.Join(dir, "evidence"))
	rows := bytes()
	say(t, "first audit", first)
	size, blocks, files := disk(t, filepath.Join(dir, "evidence"))
	t.Logf("a machine: %d bytes of database, %d bytes of evidence in %.1f files that take %d on disk; peak %d MiB of memory", rows/int64(n), size/int64(n), float64(files)/float64(n), blocks/int64(n), peak(t))
	s.mu.Lock()
	s.clock = s.clock.Add(24 * time.Hour)
	s.mu.Unlock()
	s.audit(t, 0, part, false, false, &again, database)
	say(t, "on the next day", again)
	size, _, _ = disk(t, filepath.Join(dir, "evidence"))
	t.Logf("an audit more: %d bytes of database, %d bytes of evidence", (bytes()-rows)/int64(part), (size-before)/int64(part))
	stop()
	require.NoError(t, <-done)
	s.exact(t, n)
	require.NoError(t, store.Close())
}

func say(t *testing.T, what string, f figures) {
	t.Helper()
	n := float64(f.audits)
	t.Logf("%s of %d machines: %.1f machines/s; %.2f ms of CPU each, so %.0f/s for a core; %.2f ms of CPU each in the database's own processes",
		what, f.audits, n/f.wall.Seconds(), 1000*f.cpu.Seconds()/n, n/f.cpu.Seconds(), 1000*f.database.Seconds()/n)
}
