package load

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the tables of docs/scale.md")

// What one audit takes, as make fleet-load measured it; docs/scale.md says where and
// how. The tables follow from these figures.
const (
	serverCPU   = 57.0      // ms: intake, appraisal and settling
	databaseCPU = 18.0      // ms of PostgreSQL
	commits     = 3.0       // transactions that write: nonce, intake, settling
	walBytes    = 64 << 10  // of PostgreSQL, a first audit
	sentBytes   = 130 << 10 // a bundle as it is sent
	firstRows   = 28 << 10  // bytes of database for a machine that is known
	auditRows   = 3500      // for each audit after that
	firstBytes  = 21 << 10  // of evidence and result for a machine that is known
	auditBytes  = 15500     // for each audit after that
	keptDays    = 400
)

var fleets = []int{100_000, 1_000_000, 10_000_000}

func TestTablesOfTheDocument(t *testing.T) {
	path := filepath.Join(filepath.FromSlash(root), "docs", "scale.md")
	doc, err := os.ReadFile(path)
	require.NoError(t, err)
	want := doc
	for name, table := range map[string]string{"rates": rates(), "bytes": sizes(), "backlog": backlogs()} {
		begin, end := []byte("<!-- "+name+" -->\n"), []byte("<!-- end -->")
		i := bytes.Index(want, begin)
		require.GreaterOrEqual(t, i, 0, name)
		j := bytes.Index(want[i:], end)
		require.Positive(t, j, name)
		want = slices.Concat(want[:i+len(begin)], []byte(table), want[i+j:])
	}
	if *update {
		require.NoError(t, os.WriteFile(path, want, 0o644))
		return
	}
	require.Equal(t, string(want), string(doc), "go test ./fleet/load -run Tables -update")
}

func perSecond(machines int) float64 { return float64(machines) / (24 * 3600) }

// busiest is how many times the mean the busiest time is: agents start within working
// hours, and one site is awake while another one sleeps.
const busiest = 3.0

func rates() string {
	var b strings.Builder
	b.WriteString("| machines, each once a day | audits/s, mean | at the peak | cores for the server, peak | cores for PostgreSQL, peak | commits/s, peak | WAL, MB/s, peak | evidence in, Mbit/s, peak |\n|---|---|---|---|---|---|---|---|\n")
	for _, n := range fleets {
		r := perSecond(n)
		p := r * busiest
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.1f | %.0f | %.1f | %.0f |\n", grouped(n), r, p, p*serverCPU/1000, p*databaseCPU/1000, p*commits, p*walBytes/1e6, p*sentBytes*8/1e6)
	}
	return b.String()
}

func sizes() string {
	var b strings.Builder
	b.WriteString("| machines | sent in a day | stored in a day | evidence after 30 days | after 400 days | database after 30 days | after 400 days |\n|---|---|---|---|---|---|---|\n")
	for _, n := range fleets {
		m := float64(n)
		evidence := func(days float64) string { return human(m * (firstBytes + days*auditBytes)) }
		rows := func(days float64) string { return human(m * (firstRows + days*auditRows)) }
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", grouped(n), human(m*sentBytes), human(m*auditBytes), evidence(30), evidence(keptDays), rows(30), rows(keptDays))
	}
	return b.String()
}

// arrival is when in a day machines come, as the share of a minute.
type arrival struct {
	name  string
	share func(minute int) float64
}

var arrivals = []arrival{
	{"spread over the day", func(int) float64 { return 1.0 / 1440 }},
	{"a working day: three times the mean at noon", func(m int) float64 {
		x := float64(m)/1440 - 0.5
		return (0.2 + 2.8*math.Exp(-x*x/(2*0.1139*0.1139))) / 1440
	}},
	{"all within two hours, after an outage", func(m int) float64 {
		if m < 120 {
			return 1.0 / 120
		}
		return 0
	}},
}

// backlog goes through a day minute by minute, with chance in how many come, and
// gives the most that waited, how long the last of them waited, and when all was
// judged.
func backlog(machines int, a arrival, cores float64, r *rand.Rand) (most int, wait time.Duration, done int) {
	perMinute := cores * 60_000 / serverCPU
	waiting, left := 0.0, float64(machines)
	for m := 0; m < 14*1440; m++ {
		if m < 1440 {
			mean := a.share(m) * float64(machines)
			come := math.Min(left, math.Max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64()))) // Poisson, of many
			if m == 1439 {
				come = left
			}
			waiting, left = waiting+come, left-come
		}
		if w := time.Duration(waiting / perMinute * float64(time.Minute)); w > wait {
			wait, most = w, int(waiting)
		}
		if waiting = math.Max(0, waiting-perMinute); waiting == 0 && m >= 1439 || waiting == 0 && left == 0 {
			return most, wait, m + 1
		}
	}
	return most, wait, -1
}

func backlogs() string {
	var b strings.Builder
	b.WriteString("| machines | arrival | cores | waiting at most | longest wait |\n|---|---|---|---|---|\n")
	for _, n := range fleets {
		mean := perSecond(n) * serverCPU / 1000
		for _, a := range arrivals {
			for _, times := range []float64{1.25, 3} {
				cores := math.Ceil(mean * times)
				if times > 1.25 && cores == math.Ceil(mean*1.25) {
					continue
				}
				most, wait, done := backlog(n, a, cores, rand.New(rand.NewPCG(1, uint64(n))))
				text := wait.Round(time.Minute).String()
				text = strings.TrimSuffix(text, "0s")
				if wait < time.Minute {
					text = "under a minute"
				}
				if done < 0 {
					text = "never caught up"
				}
				fmt.Fprintf(&b, "| %s | %s | %.0f | %s | %s |\n", grouped(n), a.name, cores, grouped(most), text)
			}
		}
	}
	return b.String()
}

func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func human(n float64) string {
	for _, u := range []string{"B", "kB", "MB", "GB", "TB"} {
		if n < 1000 {
			return fmt.Sprintf("%.3g %s", n, u)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g PB", n)
}

// More workers never make anybody wait longer, and a day that fits is caught up with.
func TestBacklog(t *testing.T) {
	const n = 1_000_000
	mean := perSecond(n) * serverCPU / 1000
	for _, a := range arrivals {
		sum := 0.0
		for m := range 1440 {
			sum += a.share(m)
		}
		require.InDelta(t, 1, sum, 0.02, "%s: everybody comes once", a.name)
		before := time.Duration(math.MaxInt64)
		for _, times := range []float64{0.5, 1.1, 2, 4, 8} {
			_, wait, done := backlog(n, a, mean*times, rand.New(rand.NewPCG(1, 1)))
			require.LessOrEqual(t, wait, before, "%s with %.1f times the mean", a.name, times)
			before = wait
			if times > 1 {
				require.Positive(t, done, a.name)
			}
		}
	}
}
