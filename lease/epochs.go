package lease

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// record is a lease's parameter.
type record struct {
	Holder
	TTLSeconds float64 `json:"ttlSeconds"`
	// Renewals makes every value another one.
	Renewals int `json:"renewals"`
}

// sight is what a path held at a time of the service.
type sight struct {
	now    time.Time
	epochs []Held // the highest first
}

// look reads all epochs. What is no lease is left alone.
func look(ctx context.Context, s Store, path string) (*sight, error) {
	var seen sight
	pages := ssm.NewGetParametersByPathPaginator(s, &ssm.GetParametersByPathInput{Path: &path})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the lease %s: %w", path, err)
		}
		if at, ok := awsmiddleware.GetServerTime(page.ResultMetadata); ok {
			seen.now = at
		}
		for _, p := range page.Parameters {
			epoch, err := strconv.Atoi(strings.TrimPrefix(aws.ToString(p.Name), path+"/"))
			if err != nil || epoch < 1 {
				continue
			}
			var r record
			if err := json.Unmarshal([]byte(aws.ToString(p.Value)), &r); err != nil || r.TTLSeconds <= 0 {
				// Its writer is unknown, and so is for how long it writes.
				r = record{Holder: Holder{Owner: "somebody unknown"}, TTLSeconds: TTL.Seconds()}
			}
			h := Held{Holder: r.Holder, Epoch: epoch, Renewed: aws.ToTime(p.LastModifiedDate)}
			h.Expires = h.Renewed.Add(time.Duration(r.TTLSeconds * float64(time.Second)))
			seen.epochs = append(seen.epochs, h)
		}
	}
	if seen.now.IsZero() {
		return nil, fmt.Errorf("read the lease %s: %w", path, errUndated)
	}
	for i := range seen.epochs {
		seen.epochs[i].Ended = !seen.now.Before(seen.epochs[i].Expires)
	}
	slices.SortFunc(seen.epochs, func(a, b Held) int { return cmp.Compare(b.Epoch, a.Epoch) })
	return &seen, nil
}

// top is the highest epoch that is seen, and zero if there is none.
func (s *sight) top() Held {
	if len(s.epochs) == 0 {
		return Held{}
	}
	return s.epochs[0]
}

func (o *Options) name(epoch int) string { return o.Path + "/" + strconv.Itoa(epoch) }

// put writes an epoch: a new one, with its tags, or the present one again. Made
// tells that there was none: versions begin with 1 again when a parameter is made
// anew.
// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-versions.html
func (o *Options) put(ctx context.Context, epoch, renewals int, again bool) (made bool, err error) {
	value, err := json.Marshal(record{Holder: o.Holder, TTLSeconds: o.TTL.Seconds(), Renewals: renewals})
	if err != nil {
		return false, fmt.Errorf("write the lease %s: %w", o.name(epoch), err)
	}
	in := &ssm.PutParameterInput{
		Name: aws.String(o.name(epoch)), Type: types.ParameterTypeString, Value: aws.String(string(value)),
		Description: aws.String("Who works on the deployment; it goes when they are done"), Overwrite: &again,
	}
	if !again {
		// Tags are for new parameters only.
		for _, k := range slices.Sorted(maps.Keys(o.Tags)) {
			in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(o.Tags[k])})
		}
	}
	out, err := o.Store.PutParameter(ctx, in)
	if err != nil {
		return false, fmt.Errorf("write the lease %s: %w", o.name(epoch), err)
	}
	return out.Version == 1, nil
}

// drop deletes epochs. It may be repeated.
func (o *Options) drop(ctx context.Context, epochs []int) error {
	// Ten at a time is all that the service takes.
	// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameters.html
	for some := range slices.Chunk(epochs, 10) {
		var names []string
		for _, e := range some {
			names = append(names, o.name(e))
		}
		if _, err := o.Store.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: names}); err != nil {
			return fmt.Errorf("delete the lease %s: %w", strings.Join(names, ", "), err)
		}
	}
	return nil
}
