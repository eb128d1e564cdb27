package account

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The durations are those that were collected about AWS, row by row, and a few
// of our own.
func TestLatencyFacts(t *testing.T) {
	t.Parallel()
	own := []string{"ec2:tgw-attachment/create", "ec2:tgw-attachment/delete", "ec2:vpc-cidr/create", "eks:nodegroup/join-timeout", "rds:snapshot/create", "elbv2:lb/interfaces", "guardduty:endpoint/create", "logs:group/written", "s3:bucket/name"}
	table := latency()
	for row, l := range table {
		if !(0 <= l[0] && l[0] <= l[1] && l[1] <= l[2] && l[2] > 0) {
			t.Errorf("%s: %v is no range", row, l)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(measured)).ReadAll()
	if err != nil || len(rows)-1 != len(table) {
		t.Fatalf("%v: %d of %d rows can be read", err, len(table), len(rows)-1)
	}
	dir := os.Getenv("POOLHOUSE_FACTS")
	if dir == "" {
		t.Skip("no facts to compare with: set POOLHOUSE_FACTS to the folder that has latency.csv")
	}
	src, err := os.ReadFile(filepath.Join(dir, "latency.csv"))
	if err != nil {
		t.Fatal(err)
	}
	facts, err := csv.NewReader(strings.NewReader(string(src))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range rows[1:] {
		got[r[0]+"/"+r[1]] = strings.Join(r[2:], ",")
	}
	for _, row := range own {
		delete(got, row)
	}
	want := map[string]string{}
	for _, r := range facts[1:] {
		want[r[0]+"/"+r[1]] = strings.Join(r[2:], ",")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-facts +ours:\n%s", diff)
	}
}

// Durations are log-normal: the typical one is the median, the range is two
// standard deviations of the logarithm on either side, and nothing heaps up at
// its ends.
func TestDurationsAreLogNormal(t *testing.T) {
	t.Parallel()
	const n = 4000
	for _, seed := range []uint64{1, 7, math.MaxUint64} {
		a, _ := newAccount(seed)
		for _, row := range []string{"eks:cluster/create", "ec2:igw/delete", "iam:*/propagate", "eks:addon/create", "rds:instance/modify"} {
			l := latency()[row]
			var draws []float64
			ends := 0
			_ = a.Do(func(tx *Tx) error {
				for i := range n {
					s := tx.Latency(row, fmt.Sprint("subject", i)).Seconds()
					if s < min(l[0], 0.5)-1e-6 || s > l[2]+1e-6 {
						t.Errorf("%s takes %v, not within %v", row, s, l)
					}
					if s <= l[0] || s >= l[2]-1e-3 {
						ends++
					}
					draws = append(draws, s)
				}
				return nil
			})
			slices.Sort(draws)
			// What part of a normal distribution cut off at two deviations lies
			// below z deviations.
			below := func(z float64) float64 {
				phi := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
				return (phi(z) - phi(-2)) / (phi(2) - phi(-2))
			}
			for _, z := range []float64{-1, 0, 1} {
				got := draws[int(below(z)*n)]
				bound := l[2]
				if z < 0 {
					bound = max(l[0], 0.5)
				}
				want := l[1] * math.Pow(bound/l[1], math.Abs(z)/2)
				// Three deviations of the quantile of so many draws, in logs.
				spread := math.Abs(math.Log(l[2]/max(l[0], 0.5))) / 2
				if math.Abs(math.Log(got/want)) > 3*1.6*spread/math.Sqrt(n) {
					t.Errorf("seed %d: %s: %v deviations are at %.1fs, want %.1fs", seed, row, z, got, want)
				}
			}
			if ends > n/50 {
				t.Errorf("%s: %d of %d draws lie at the ends", row, ends, n)
			}
		}
	}
}

// The same seed and subject draw the same, whatever else goes on; another seed,
// another subject and another operation on the same subject draw anew.
func TestDurationsFollowTheSeed(t *testing.T) {
	t.Parallel()
	const stack = "arn:aws:cloudformation:us-east-1:123456789012:stack/s/"
	draws := func(seed uint64, noise int, logical string) (out []time.Duration) {
		a, _ := newAccount(seed)
		_ = a.Do(func(tx *Tx) error {
			for range noise {
				_ = tx.UUID()
			}
			r, d, err := tx.CreateInStack("T::A::B", map[string]any{}, stack+strconv.Itoa(noise), logical)
			out = append(out, d)
			for range 200 {
				out = append(out, tx.Duration(r, "create"))
			}
			return err
		})
		return out
	}
	a := draws(1, 0, "A")
	if b := draws(1, 5, "A"); !slices.Equal(a, b) {
		t.Errorf("the same seed and subject draw %v and %v", a[:5], b[:5])
	}
	for _, other := range [][]time.Duration{draws(2, 0, "A"), draws(1, 0, "B")} {
		if slices.Equal(a, other) {
			t.Errorf("another seed or subject draws the same: %v", a[:5])
		}
	}
	// Independent of each other: one draw says nothing of the next.
	var sum, square, lagged float64
	logs := make([]float64, len(a))
	for i, d := range a {
		logs[i] = math.Log(d.Seconds())
		sum += logs[i]
	}
	mean := sum / float64(len(logs))
	for i, x := range logs {
		square += (x - mean) * (x - mean)
		if i > 0 {
			lagged += (x - mean) * (logs[i-1] - mean)
		}
	}
	if r := lagged / square; math.Abs(r) > 0.25 {
		t.Errorf("a draw and the next correlate by %.2f", r)
	}
	if typical := draws(0, 0, "A"); typical[0] != 12*time.Second || typical[0] != typical[1] {
		t.Errorf("without a seed it takes %v, want the typical time", typical[:2])
	}
}
