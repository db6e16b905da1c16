package storetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// Cluster is a PostgreSQL of its own on a loopback port, thrown away with the test.
type Cluster struct {
	bin, dir string
	port     int
	as       *syscall.Credential
	server   *exec.Cmd
}

// NewCluster makes a cluster, or skips the test where PostgreSQL is not
// installed. In CI it must be.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	require.NoError(t, err)
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("PostgreSQL is not installed: bash tools/setup.sh")
		}
		t.Skip("needs PostgreSQL (Debian package postgresql)")
	}
	c := &Cluster{bin: filepath.Dir(found[len(found)-1])}
	c.dir, err = os.MkdirTemp("", "assay-pg")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(c.dir) })
	if os.Geteuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		require.NoError(t, err)
		uid, err := strconv.Atoi(u.Uid)
		require.NoError(t, err)
		gid, err := strconv.Atoi(u.Gid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(c.dir, uid, gid))
		c.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	out, err := c.command("initdb", "-D", c.data(), "-U", "assay", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C").CombinedOutput()
	require.NoError(t, err, "%s", out)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c.port = l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	c.Start(t)
	t.Cleanup(func() { c.Kill() })
	return c
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = c.dir, &syscall.SysProcAttr{Credential: c.as, Setpgid: true}
	return cmd
}

// Start starts the server and waits until it answers.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	c.server = c.command("postgres", "-D", c.data(), "-p", strconv.Itoa(c.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200")
	require.NoError(t, c.server.Start())
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err != nil {
			return false
		}
		return conn.Close(ctx) == nil
	}, time.Minute, 100*time.Millisecond, "the server does not answer")
}

// Kill ends the server and its children at once, as a power cut does.
func (c *Cluster) Kill() {
	if c.server != nil {
		_ = syscall.Kill(-c.server.Process.Pid, syscall.SIGKILL) // it may be gone
		_ = c.server.Wait()
		c.server = nil
	}
}

// URL names a database of the cluster.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://assay@127.0.0.1:%d/%s?sslmode=disable", c.port, database)
}

// Address is where the server listens.
func (c *Cluster) Address() string { return fmt.Sprintf("127.0.0.1:%d", c.port) }

// Database makes an empty database, when it is not there, and names it.
func (c *Cluster) Database(t testing.TB, name string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(ctx)
	var n int
	require.NoError(t, conn.QueryRow(ctx, `SELECT count(*) FROM pg_database WHERE datname = $1`, name).Scan(&n))
	if n == 0 {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		require.NoError(t, err)
	}
	return c.URL(name)
}

// CPU is what the server and its children have used so far.
func (c *Cluster) CPU(t testing.TB) time.Duration {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	const ticks = 100 // a second, for whoever reads /proc
	var sum int64
	for _, f := range stats {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // it ended
		}
		// After the name, which may hold anything: state, parent, group, ... (proc_pid_stat(5)).
		_, rest, _ := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')')+1:]), " ")
		v := strings.Fields(rest)
		pid, first := filepath.Base(filepath.Dir(f)), strconv.Itoa(c.server.Process.Pid)
		if len(v) < 15 || v[1] != first && pid != first {
			continue
		}
		own := v[11:13]
		if pid == first { // it adds up those that ended
			own = v[11:15]
		}
		for _, x := range own {
			n, err := strconv.ParseInt(x, 10, 64)
			require.NoError(t, err)
			sum += n
		}
	}
	return time.Duration(sum) * time.Second / ticks
}

// Size is what a database takes on disk.
func (c *Cluster) Size(t testing.TB, database string) (n int64) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(ctx)
	require.NoError(t, conn.QueryRow(ctx, `SELECT pg_database_size($1)`, database).Scan(&n))
	return n
}
