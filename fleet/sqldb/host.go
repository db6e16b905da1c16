package sqldb

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/assay-hw/assay/fleet"
)

// Host finds a machine by its id.
func (s *Session) Host(id string) (*fleet.Host, error) {
	return one[fleet.Host](s, "host "+id, `SELECT doc FROM host WHERE id = $1`+s.lock(), id)
}

// HostByEK finds a machine by its endorsement key.
func (s *Session) HostByEK(sum string) (*fleet.Host, error) {
	if sum == "" {
		return nil, fmt.Errorf("host: no key: %w", fleet.ErrNotFound)
	}
	return one[fleet.Host](s, "host with the key "+sum, `SELECT doc FROM host WHERE ek = $1`+s.lock(), sum)
}

// PutHost inserts a machine, or replaces the one with its id.
func (s *Session) PutHost(h *fleet.Host) error {
	if h.ID == "" {
		return errors.New("host: no id")
	}
	doc, err := document(h)
	if err != nil {
		return fmt.Errorf("host %s: %w", h.ID, err)
	}
	search := strings.ToLower(strings.Join([]string{h.Name, h.ID, h.Identity.Serial, h.Identity.Manufacturer, h.Identity.Product, h.Identity.UUID}, " "))
	_, err = s.exec(`INSERT INTO host (id, ek, name, site, state, mode, profile, search, next_due, last_attested, since, doc, serial)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (id) DO UPDATE SET ek = excluded.ek, name = excluded.name, site = excluded.site, state = excluded.state, mode = excluded.mode, profile = excluded.profile,
			search = excluded.search, next_due = excluded.next_due, last_attested = excluded.last_attested, since = excluded.since, doc = excluded.doc, serial = excluded.serial`,
		h.ID, h.Identity.EKSHA256, h.Name, h.Site, string(h.State), string(h.Mode), h.Profile, search, micros(h.NextDue), micros(h.LastAttested), micros(h.Since), doc, strings.ToUpper(strings.TrimSpace(h.Identity.Serial)))
	if err != nil {
		return fmt.Errorf("host %s: %w", h.ID, err)
	}
	return nil
}

// orders are the ways to sort machines: the column, and how a key of it reads.
var orders = map[string]string{"": "name", "name": "name", "state": "state", "lastAttested": "last_attested", "since": "since"}

// Hosts lists a page of machines.
func (s *Session) Hosts(q fleet.HostQuery) ([]fleet.Host, error) {
	column, ok := orders[q.Sort]
	if !ok {
		return nil, fmt.Errorf("hosts: unknown order %.20q", q.Sort)
	}
	w := &where{}
	w.equal("state", string(q.State))
	w.equal("site", q.Site)
	w.equal("profile", q.Profile)
	w.equal("serial", strings.ToUpper(strings.TrimSpace(q.Serial)))
	if q.Serial != "" {
		w.parts = append(w.parts, "serial <> ''") // as the index has it
	}
	if q.Text != "" {
		if err := s.finds(w, q.Text); err != nil {
			return nil, err
		}
	}
	if !q.Overdue.IsZero() {
		w.add("next_due < $?", micros(q.Overdue))
		w.parts = append(w.parts, "state <> 'retired'")
	}
	if q.Live && q.State == "" {
		w.parts = append(w.parts, "state <> 'retired'")
	}
	than, order := ">", ""
	if q.Desc {
		than, order = "<", " DESC"
	}
	if q.After != "" {
		key, id, err := after(column, q.After)
		if err != nil {
			return nil, err
		}
		w.add("("+column+", id) "+than+" ($?, $?)", key, id)
	}
	w.args = append(w.args, limit(q.Limit, 10_000))
	return list[fleet.Host](s, fmt.Sprintf(`SELECT doc FROM host%s ORDER BY %s%s, id%s LIMIT $%d`, w.sql(), column, order, order, len(w.args)), w.args...)
}

// few is how many machines are looked up one by one; more are found by going through
// all in the order that is asked for.
const few = 2000

// finds adds the condition that a machine is found by a text: its name, serial number
// or id begins with it, which indexes know; or, when none does, it is a part of them,
// of the maker, the model or the UUID, for which all machines are read.
func (s *Session) finds(w *where, text string) error {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?") // as no column has them
	lower := strings.ToLower(text)
	var begins, counted, like []string
	var ranges, starts []any
	for _, c := range [][2]string{{"search", lower}, {"serial", strings.ToUpper(text)}, {"id", lower}} {
		column := c[0] + s.dialect.Bytes
		begins = append(begins, "SELECT id FROM host WHERE "+column+" >= $? AND "+column+" < $?")
		counted = append(counted, fmt.Sprintf("(SELECT count(*) FROM (%s LIMIT %d) AS %s_hit)", begins[len(begins)-1], few+1, c[0]))
		like = append(like, c[0]+" LIKE $? ESCAPE '!'")
		ranges, starts = append(ranges, c[1], c[1]+"\U0010ffff"), append(starts, likeEscaper.Replace(c[1])+"%")
	}
	var count where
	count.add("SELECT "+strings.Join(counted, " + "), ranges...)
	n := 0
	if err := s.query(func(r Rows) error { return r.Scan(&n) }, count.parts[0], count.args...); err != nil {
		return fmt.Errorf("hosts: %w", err)
	}
	switch {
	case n == 0:
		w.add(`search LIKE $? ESCAPE '!'`, "%"+likeEscaper.Replace(lower)+"%")
	case n <= few:
		w.add("id IN ("+strings.Join(begins, " UNION ")+")", ranges...)
	default:
		w.add("("+strings.Join(like, " OR ")+")", starts...)
	}
	return nil
}

var likeEscaper = strings.NewReplacer("!", "!!", "%", "!%", "_", "!_")

// where builds a condition.
type where struct {
	parts []string
	args  []any
}

func (w *where) equal(column, v string) {
	if v != "" {
		w.add(column+" = $?", v)
	}
}

// add numbers the parameters of a condition.
func (w *where) add(cond string, args ...any) {
	for _, a := range args {
		w.args = append(w.args, a)
		cond = strings.Replace(cond, "$?", fmt.Sprintf("$%d", len(w.args)), 1)
	}
	w.parts = append(w.parts, cond)
}

func (w *where) sql() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.parts, " AND ")
}

// after reads a key that Host.Key made.
func after(column, key string) (any, string, error) {
	var k [2]string
	if err := json.Unmarshal([]byte(key), &k); err != nil {
		return nil, "", fmt.Errorf("hosts: the page begins after %.60q, which is no key: %w", key, err)
	}
	if column == "name" || column == "state" {
		return k[0], k[1], nil
	}
	t, err := time.Parse(time.RFC3339Nano, k[0])
	if err != nil {
		return nil, "", fmt.Errorf("hosts: the page begins after %.60q, which is no key: %w", key, err)
	}
	return micros(t), k[1], nil
}

// Due claims machines whose time has come.
func (s *Session) Due(now, until time.Time, mode fleet.Mode, n int) ([]fleet.Host, error) {
	if !s.changes {
		return nil, errReadOnly
	}
	hs, err := list[fleet.Host](s, `SELECT doc FROM host WHERE mode = $1 AND next_due <= $2 AND state <> 'retired' ORDER BY next_due, id LIMIT $3`+s.dialect.Claim, string(mode), micros(now), limit(n, 1000))
	if err != nil {
		return nil, fmt.Errorf("due: %w", err)
	}
	for i := range hs {
		hs[i].NextDue = until
		if err := s.PutHost(&hs[i]); err != nil {
			return nil, err
		}
	}
	return hs, nil
}

// Count gives the fleet in figures.
func (s *Session) Count() (fleet.Counts, error) {
	out := fleet.Counts{ByState: map[fleet.State]int64{}}
	err := s.query(func(r Rows) error {
		var state string
		var n int64
		if err := r.Scan(&state, &n); err != nil {
			return err
		}
		out.ByState[fleet.State(state)] = n
		if fleet.State(state) != fleet.Retired {
			out.Hosts += n
		}
		return nil
	}, `SELECT state, count(*) FROM host GROUP BY state`)
	if err != nil {
		return out, fmt.Errorf("count: %w", err)
	}
	err = s.query(func(r Rows) error {
		var at int64
		if err := r.Scan(&at); err != nil {
			return err
		}
		if at > 0 {
			out.Oldest = time.UnixMicro(at).UTC()
		}
		return nil
	}, `SELECT last_attested FROM host WHERE last_attested > 0 AND state <> 'retired' ORDER BY last_attested LIMIT 1`)
	if err != nil {
		return out, fmt.Errorf("count: %w", err)
	}
	return out, nil
}

// PutChallenge stores a nonce.
func (s *Session) PutChallenge(c fleet.Challenge) error {
	data := c.Data
	if data == nil {
		data = []byte{}
	}
	_, err := s.exec(`INSERT INTO challenge (nonce, host, issued, deadline, data) VALUES ($1, $2, $3, $4, $5)`, c.Nonce, c.Host, micros(c.Issued), micros(c.Deadline), data)
	if err != nil {
		return fmt.Errorf("challenge: %w", err)
	}
	return nil
}

// Challenge finds a nonce, and leaves it.
func (s *Session) Challenge(nonce []byte) (*fleet.Challenge, error) {
	return s.challenge(`SELECT host, issued, deadline, data FROM challenge WHERE nonce = $1`, nonce)
}

// TakeChallenge takes a nonce away, so that it is good once.
func (s *Session) TakeChallenge(nonce []byte) (*fleet.Challenge, error) {
	return s.challenge(`DELETE FROM challenge WHERE nonce = $1 RETURNING host, issued, deadline, data`, nonce)
}

func (s *Session) challenge(sql string, nonce []byte) (*fleet.Challenge, error) {
	c := &fleet.Challenge{Nonce: nonce}
	found := false
	err := s.query(func(r Rows) error {
		var issued, deadline int64
		found = true
		err := r.Scan(&c.Host, &issued, &deadline, &c.Data)
		c.Issued, c.Deadline = time.UnixMicro(issued).UTC(), time.UnixMicro(deadline).UTC()
		return err
	}, sql, nonce)
	switch {
	case err != nil:
		return nil, fmt.Errorf("challenge: %w", err)
	case !found:
		return nil, fmt.Errorf("challenge: %w", fleet.ErrNotFound)
	}
	return c, nil
}
