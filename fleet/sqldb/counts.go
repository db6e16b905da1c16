package sqldb

import (
	"fmt"
	"maps"
	"slices"

	"github.com/assay-hw/assay/fleet"
)

// counts are what a transaction will add to the counts of profiles and of what
// machines of them have. Many machines change the same few rows: they are written
// last, all at once and in one order, so that nobody holds them for long, and no
// two transactions wait for each other.
type counts struct {
	profiles map[string]profileCount
	features map[featureKey]int
}

type profileCount struct {
	name  string
	hosts int
}

type featureKey struct{ profile, feature string }

func (c *counts) profile(id, name string, by int) {
	if c.profiles == nil {
		c.profiles = map[string]profileCount{}
	}
	p := c.profiles[id]
	p.hosts += by
	if name != "" {
		p.name = name
	}
	c.profiles[id] = p
}

func (c *counts) feature(profile, feature string, by int) {
	if c.features == nil {
		c.features = map[featureKey]int{}
	}
	c.features[featureKey{profile, feature}] += by
}

// on adds what the transaction changed to counts that were read, and leaves out
// what nobody has.
func (c *counts) on(profile string, read []fleet.Feature) []fleet.Feature {
	left := map[string]int{}
	for k, n := range c.features {
		if k.profile == profile {
			left[k.feature] = n
		}
	}
	for i := range read {
		read[i].Hosts += left[read[i].Key]
		delete(left, read[i].Key)
	}
	for k, n := range left {
		read = append(read, fleet.Feature{Profile: profile, Key: k, Hosts: n})
	}
	return slices.DeleteFunc(read, func(f fleet.Feature) bool { return f.Hosts <= 0 })
}

// Flush writes what waits for the end of the transaction.
func (s *Session) Flush() error {
	var rows [][]any
	for _, id := range slices.Sorted(maps.Keys(s.counts.profiles)) {
		if p := s.counts.profiles[id]; p.hosts != 0 {
			rows = append(rows, []any{id, p.name, p.hosts})
		}
	}
	err := s.many(`INSERT INTO profile (id, name, hosts) VALUES `, rows,
		` ON CONFLICT (id) DO UPDATE SET hosts = profile.hosts + excluded.hosts, name = CASE WHEN excluded.name = '' THEN profile.name ELSE excluded.name END`)
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	rows = nil
	keys := slices.SortedFunc(maps.Keys(s.counts.features), func(a, b featureKey) int {
		return slices.Compare([]string{a.profile, a.feature}, []string{b.profile, b.feature})
	})
	for _, k := range keys {
		if n := s.counts.features[k]; n != 0 {
			rows = append(rows, []any{k.profile, k.feature, n})
		}
	}
	if err := s.many(`INSERT INTO feature (profile, feature, hosts) VALUES `, rows, ` ON CONFLICT (profile, feature) DO UPDATE SET hosts = feature.hosts + excluded.hosts`); err != nil {
		return fmt.Errorf("features: %w", err)
	}
	s.counts = counts{}
	return nil
}
