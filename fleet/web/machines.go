package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
)

// machinesPage is a page of the list of machines.
type machinesPage struct {
	Filter   filter
	States   []fleet.State
	Sorts    []choice
	Profiles []fleet.Profile
	Names    map[string]string // of profiles
	Hosts    []fleet.Host
	Next     template.URL // the query of the page that follows
	First    template.URL // the query of the first page, when this is another
	Total    int64        // of the state, or of the fleet, -1 when nobody counted
}

// filter is what the list was asked for.
type filter struct {
	State, Site, Profile, Text, Sort, After string
}

type choice struct{ Key, Text string }

var sorts = []choice{{"worst", "worst first"}, {"name", "name"}, {"attested", "longest not attested"}, {"since", "newest change of state"}}

const (
	pageSize    = 50
	maxProfiles = 1000
	maxText     = 200
)

func (p *pages) machines(q *request) error {
	v := q.r.URL.Query()
	f := filter{v.Get("state"), strings.TrimSpace(v.Get("site")), v.Get("profile"), strings.TrimSpace(v.Get("text")), v.Get("sort"), v.Get("after")}
	if err := f.check(); err != nil {
		return err
	}
	b := machinesPage{Filter: f, States: worstFirst, Sorts: sorts, Names: map[string]string{}, Total: -1}
	err := p.view(q, func(r fleet.Reader) (err error) {
		if b.Profiles, err = r.Profiles("", maxProfiles); err != nil {
			return err
		}
		for _, p := range b.Profiles {
			b.Names[p.ID] = p.Name
		}
		slices.SortFunc(b.Profiles, func(a, b fleet.Profile) int { return cmp.Compare(a.Name, b.Name) })
		after := ""
		if b.Hosts, after, err = f.list(r); err != nil {
			return err
		}
		if after != "" {
			b.Next = f.query(after)
		}
		if f.After != "" {
			b.First = f.query("")
		}
		if f.Site+f.Profile+f.Text != "" {
			return nil
		}
		c, err := r.Count()
		b.Total = c.Hosts
		if f.State != "" {
			b.Total = c.ByState[fleet.State(f.State)]
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.show(q, "machines", "machines", "Machines", b)
}

// Status is told to who cannot see that the list changed.
func (b machinesPage) Status() string {
	s := count(len(b.Hosts), "machine")
	switch {
	case len(b.Hosts) == 0:
		return "No machine is like that."
	case b.Total >= 0:
		s = fmt.Sprintf("%s of %s", thousands(int64(len(b.Hosts))), count(int(b.Total), "machine"))
	case b.Next != "":
		s += ", and more on the next page"
	}
	return s + "."
}

// check refuses what no link of the page has.
func (f *filter) check() error {
	bad := func(what string) error {
		return &server.Refusal{Reason: "The list cannot be asked for like that: " + what + ".", Status: server.Invalid}
	}
	f.Sort = cmp.Or(f.Sort, "worst")
	switch {
	case f.State != "" && !slices.Contains(worstFirst, fleet.State(f.State)):
		return bad("the state is not known")
	case !slices.ContainsFunc(sorts, func(c choice) bool { return c.Key == f.Sort }):
		return bad("the order is not known")
	case len(f.Site) > maxText || len(f.Text) > maxText || len(f.Profile) > maxText || len(f.After) > 1000:
		return bad("it is too long")
	}
	if f.After == "" {
		return nil
	}
	key := f.After
	if f.Sort == "worst" {
		state, rest, _ := strings.Cut(f.After, ":")
		if key = rest; !slices.Contains(worstFirst, fleet.State(state)) {
			return bad("the page is not known")
		}
	}
	var k [2]string
	if json.Unmarshal([]byte(key), &k) != nil {
		return bad("the page is not known")
	}
	if f.Sort == "attested" || f.Sort == "since" {
		if _, err := time.Parse(time.RFC3339Nano, k[0]); err != nil {
			return bad("the page is not known")
		}
	}
	return nil
}

func (f filter) query(after string) template.URL {
	return query(map[string]string{"state": f.State, "site": f.Site, "profile": f.Profile, "text": f.Text, "sort": f.Sort, "after": after})
}

// query is that of a link, which a template would take for one value.
func query(fields map[string]string) template.URL {
	v := url.Values{}
	for k, s := range fields {
		if s != "" {
			v.Set(k, s)
		}
	}
	return template.URL(v.Encode()) //nolint:gosec // every value in it is escaped
}

// list reads a page, and after which key the next one begins.
func (f filter) list(r fleet.Reader) ([]fleet.Host, string, error) {
	q := fleet.HostQuery{State: fleet.State(f.State), Site: f.Site, Profile: f.Profile, Text: f.Text, Limit: pageSize}
	switch f.Sort {
	case "worst":
		states := worstFirst[:len(worstFirst)-1] // who wants to see those that were retired asks for them
		if f.State != "" {
			states = []fleet.State{q.State}
		}
		return worst(r, q, states, f.After)
	case "attested":
		q.Sort, q.Live = "lastAttested", true
	case "since":
		q.Sort, q.Live, q.Desc = "since", true, true
	default:
		q.Sort, q.Live = "name", true
	}
	q.After = f.After
	q.Limit++
	hs, err := r.Hosts(q)
	if err != nil || len(hs) < q.Limit {
		return hs, "", err
	}
	hs = hs[:pageSize]
	return hs, hs[len(hs)-1].Key(q.Sort), nil
}

// worst lists machines state by state, the worst first, each by name: every state
// is a range of one index.
func worst(r fleet.Reader, q fleet.HostQuery, states []fleet.State, after string) ([]fleet.Host, string, error) {
	if after != "" {
		state, key, _ := strings.Cut(after, ":")
		i := slices.Index(states, fleet.State(state))
		if i < 0 {
			return nil, "", nil
		}
		states, q.After = states[i:], key
	}
	var out []fleet.Host
	limit := q.Limit
	q.Sort = "name"
	for _, q.State = range states {
		q.Limit = limit + 1 - len(out)
		hs, err := r.Hosts(q)
		if err != nil {
			return nil, "", err
		}
		q.After = ""
		if out = append(out, hs...); len(out) > limit {
			last := out[limit-1]
			return out[:limit], string(last.State) + ":" + last.Key("name"), nil
		}
	}
	return out, "", nil
}
