package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/fleet"
)

// trendPlot draws, for each day, how many machines were in a state that is no
// pass. Passes are not drawn: among thousands of them one failure would not show.
type trendPlot struct {
	Days   []trendDay
	Top    int64 // of the scale
	States []fleet.State
	Width  float64
	Height float64
	Label  string
}

type trendDay struct {
	Day    time.Time
	Counts fleet.Counts
	Bars   []bar
	Mark   bool // of those that have their date under them
	X      float64
	Wide   float64
	Title  string
}

type bar struct {
	State fleet.State
	N     int64
	Y, H  float64
}

const plotHeight = 120.0

// newTrend draws the days that were counted, and today as it is now.
func newTrend(days []fleet.Counts, now fleet.Counts, at time.Time) *trendPlot {
	today := at.UTC().Truncate(24 * time.Hour)
	days = slices.DeleteFunc(slices.Clone(days), func(c fleet.Counts) bool { return !c.At.Before(today) })
	now.At = today
	t := &trendPlot{Width: 720, Height: plotHeight}
	step := t.Width / trendDays
	first := today.AddDate(0, 0, -trendDays+1)
	for i, c := range append(days, now) {
		d := trendDay{Day: c.At, Counts: c, X: c.At.Sub(first).Hours()/24*step + 2, Wide: step - 4}
		d.Mark = i%7 == 0
		t.Days = append(t.Days, d)
		t.Top = max(t.Top, notPassing(c))
	}
	t.Top = nice(t.Top)
	for i := range t.Days {
		t.Days[i].stack(t.Top)
		for _, b := range t.Days[i].Bars {
			if !slices.Contains(t.States, b.State) {
				t.States = append(t.States, b.State)
			}
		}
	}
	slices.SortFunc(t.States, func(a, b fleet.State) int { return rank(a) - rank(b) })
	last := notPassing(now)
	t.Label = fmt.Sprintf("Machines that do not pass, by day, for %s: %s today", count(len(t.Days), "day"), thousands(last))
	return t
}

func notPassing(c fleet.Counts) (n int64) {
	for s, of := range c.ByState {
		if s != fleet.Pass && s != fleet.Retired {
			n += of
		}
	}
	return n
}

func (d *trendDay) stack(top int64) {
	y := plotHeight
	var texts []string
	for _, s := range worstFirst {
		n := d.Counts.ByState[s]
		if n == 0 || s == fleet.Pass || s == fleet.Retired {
			continue
		}
		h := max(1, float64(n)/float64(top)*plotHeight)
		y -= h
		d.Bars = append(d.Bars, bar{s, n, y, h})
		texts = append(texts, fmt.Sprintf("%s %d", s, n))
	}
	d.Title = d.Day.Format("2006-01-02") + ": " + strings.Join(append(texts, fmt.Sprintf("pass %d", d.Counts.ByState[fleet.Pass])), ", ")
}

// nice rounds the top of a scale up to 1, 2 or 5 with zeros.
func nice(n int64) int64 {
	for unit := int64(1); ; unit *= 10 {
		for _, f := range []int64{1, 2, 5} {
			if f*unit >= n || unit > math.MaxInt64/100 {
				return f * unit
			}
		}
	}
}

// timeline draws the results of a machine over time: a lane for each state.
type timeline struct {
	Lanes  []lane
	Points []point
	Path   string
	Width  float64
	Height float64
	From   time.Time
	To     time.Time
	Label  string
}

type lane struct {
	State fleet.State
	Y     float64
}

type point struct {
	X, Y    float64
	State   fleet.State
	Changes int
	ID      string
	Title   string
}

const (
	laneLeft = 96.0
	laneStep = 26.0
)

// newTimeline draws results, which come the newest first.
func newTimeline(results []fleet.Result) *timeline {
	if len(results) == 0 {
		return nil
	}
	results = slices.Clone(results)
	slices.Reverse(results)
	t := &timeline{Width: 720, From: results[0].At, To: results[len(results)-1].At}
	at := map[fleet.State]float64{}
	for _, s := range worstFirst {
		if slices.ContainsFunc(results, func(r fleet.Result) bool { return r.State == s }) {
			at[s] = laneStep*float64(len(t.Lanes)) + laneStep/2
			t.Lanes = append(t.Lanes, lane{s, at[s]})
		}
	}
	t.Height = laneStep * float64(max(1, len(t.Lanes)))
	room := t.Width - laneLeft - 16
	var path strings.Builder
	for i, r := range results {
		x := laneLeft + room/2
		if all := t.To.Sub(t.From); all > 0 {
			x = laneLeft + 8 + r.At.Sub(t.From).Seconds()/all.Seconds()*(room-8)
		}
		y := at[r.State]
		if i == 0 {
			fmt.Fprintf(&path, "M%.1f %.1f", x, y)
		} else {
			fmt.Fprintf(&path, "H%.1fV%.1f", x, y)
		}
		title := fmt.Sprintf("%s: %s", r.At.UTC().Format("2006-01-02 15:04 UTC"), r.State)
		if n := len(r.Changes); n > 0 {
			title += ", " + count(n, "change")
		}
		t.Points = append(t.Points, point{x, y, r.State, len(r.Changes), r.ID, title})
	}
	t.Path = path.String()
	t.Label = fmt.Sprintf("Verdicts of the machine from %s to %s, %s", t.From.Format("2006-01-02"), t.To.Format("2006-01-02"), count(len(results), "result"))
	return t
}
