package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/assay-hw/assay/fleet"
)

// overviewPage answers in one look whether somebody is needed, which machines
// changed, and where to look.
type overviewPage struct {
	Counts   fleet.Counts
	Tiles    []tile
	Good     bool // every machine passes; nothing else is good
	Sentence string
	Moved    movedPage
	Need     []fleet.Host
	NeedMore int64
	Longest  []fleet.Host
	Trend    *trendPlot
	Expiring []fleet.Exception // in force, and for how long
	Waiting  []fleet.Exception // for another person
}

// tile is a state with how many machines are in it.
type tile struct {
	State fleet.State
	N     int64
}

const (
	shortList  = 8
	trendDays  = 30
	expireSoon = 14 * 24 * time.Hour
)

// needing are the states in which somebody has to do something.
var needing = []fleet.State{fleet.Fail, fleet.Error, fleet.Stale, fleet.Inconclusive, fleet.Review}

func (p *pages) overview(q *request) error {
	b := overviewPage{Moved: movedPage{Period: periods[0], Since: q.now.Add(-periods[0].of)}}
	err := p.view(q, func(r fleet.Reader) (err error) {
		if b.Counts, err = r.Count(); err != nil {
			return err
		}
		if b.Moved.Worse, b.Moved.Other, b.Moved.Cut, err = moves(r, b.Moved.Since); err != nil {
			return err
		}
		if b.Need, _, err = worst(r, fleet.HostQuery{Limit: shortList}, needing, ""); err != nil {
			return err
		}
		if b.Longest, err = r.Hosts(fleet.HostQuery{Sort: "lastAttested", Live: true, Limit: 5}); err != nil {
			return err
		}
		days, err := r.Trend(q.now.AddDate(0, 0, -trendDays+1))
		if err != nil {
			return err
		}
		b.Trend = newTrend(days, b.Counts, q.now)
		all, err := r.Exceptions(time.Time{})
		for _, x := range all {
			switch {
			case !q.now.Before(x.Expires):
			case x.Approved == "":
				b.Waiting = append(b.Waiting, x)
			case x.Expires.Before(q.now.Add(expireSoon)):
				b.Expiring = append(b.Expiring, x)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	b.sum()
	return p.show(q, "overview", "overview", "Overview", b)
}

// sum says in a sentence what the fleet is like.
func (b *overviewPage) sum() {
	var need int64
	for _, s := range worstFirst {
		if n := b.Counts.ByState[s]; n > 0 || s == fleet.Fail || s == fleet.Pass {
			b.Tiles = append(b.Tiles, tile{s, n})
		}
	}
	for _, s := range needing {
		need += b.Counts.ByState[s]
	}
	b.NeedMore = need - int64(len(b.Need))
	all, pass := b.Counts.Hosts, b.Counts.ByState[fleet.Pass]
	switch {
	case all == 0:
		b.Sentence = "No machine is enrolled yet."
	case pass == all:
		b.Good = true
		b.Sentence = fmt.Sprintf("%s: every one passes.", count(int(all), "machine"))
	case need > 0:
		b.Sentence = fmt.Sprintf("%s of %s %s somebody.", thousands(need), count(int(all), "machine"), map[bool]string{true: "needs", false: "need"}[need == 1])
	default:
		b.Sentence = fmt.Sprintf("%s of %s not judged yet.", thousands(all-pass), count(int(all), "machine"))
	}
	if n := b.Counts.ByState[fleet.Enrolled]; n > 0 && need > 0 {
		b.Sentence = strings.TrimSuffix(b.Sentence, ".") + fmt.Sprintf(", %s not judged yet.", thousands(n))
	}
}
