package account

import (
	_ "embed"
	"encoding/csv"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// measured is how long AWS takes, in seconds: minimum, typical, maximum, by
// type and operation. The last column says how sure that is.
//
//go:embed latency.csv
var measured string

// latency is the table by type and operation, "eks:cluster/create". What
// can't be read is not in it, which a test would notice.
var latency = sync.OnceValue(func() map[string][3]float64 {
	rows, _ := csv.NewReader(strings.NewReader(measured)).ReadAll()
	table := make(map[string][3]float64, len(rows))
	for _, row := range rows {
		var l [3]float64
		var err error
		for i := range l {
			if err == nil {
				l[i], err = strconv.ParseFloat(row[2+i], 64)
			}
		}
		if err == nil {
			table[row[0]+"/"+row[1]] = l
		}
	}
	return table
})

// Duration is how long the operation op takes on r: the typical time, or, with
// a seed, a draw from what was seen on AWS. Each operation on r draws anew.
// Updates and deletions that the table doesn't list take two seconds; a type
// without a latency row settles at once.
func (tx *Tx) Duration(r *Resource, op string) time.Duration {
	t := tx.Type(r.Type)
	if t == nil || t.Latency == "" {
		return 0
	}
	row := t.Latency + "/" + op
	if t.Row != nil {
		row = t.Row(r, op)
	}
	subject := r.ID
	if _, rest, ok := strings.Cut(r.Owner, ":stack/"); ok && r.LogicalID != "" {
		// Unlike ids, these are the same whatever else goes on.
		name, _, _ := strings.Cut(rest, "/")
		subject = name + "/" + r.LogicalID
	}
	r.Draws++
	return tx.Latency(row, subject+"#"+strconv.Itoa(r.Draws))
}

// Latency draws a duration for a row of the table, "eks:cluster/create"; the
// same subject draws the same duration.
func (tx *Tx) Latency(row, subject string) time.Duration {
	l, ok := latency()[row]
	if !ok {
		return 2 * time.Second
	}
	s := l[1]
	if tx.a.opts.Seed != 0 {
		h := fnv.New64a()
		h.Write([]byte(row))
		h.Write([]byte{'|'})
		h.Write([]byte(subject))
		s = logNormal(l, mix(h.Sum64()^tx.a.opts.Seed))
	}
	return time.Duration(s * float64(time.Second))
}

// logNormal draws from a distribution whose logarithm is normal, with the
// typical value as its median and the range as two standard deviations on
// either side, each side by itself since delays are longer than hastes. What
// would be further out is drawn again, so that nothing heaps up at the ends.
func logNormal(l [3]float64, x uint64) float64 {
	const deviations = 2
	z := 0.0
	for try := uint64(1); ; try++ {
		// Box-Muller: a normal draw from two uniform numbers.
		u1 := float64(mix(x+try)>>11) / (1 << 53)
		u2 := float64(mix(x^try<<32)>>11) / (1 << 53)
		z = math.Sqrt(-2*math.Log(1-u1)) * math.Cos(2*math.Pi*u2)
		if math.Abs(z) <= deviations {
			break
		}
	}
	least := max(l[0], 0.5)
	typical := max(l[1], least)
	bound := least
	if z > 0 {
		bound = max(l[2], typical)
	}
	return typical * math.Exp(math.Abs(z)/deviations*math.Log(bound/typical))
}
