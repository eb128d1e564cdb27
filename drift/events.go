package drift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/poolhouse/poolhouse/internal/awsapi"
	"github.com/poolhouse/poolhouse/stack"
)

// Event is a call that changed something.
type Event struct {
	Time time.Time `json:"time"`
	// Name is the operation, and Source the service's host name.
	Name   string `json:"name"`
	Source string `json:"source"`
	// User is a user's name or that of a session, and Principal the ARN of the
	// user or the role.
	User      string `json:"user"`
	Principal string `json:"principal"`
	From      string `json:"from,omitempty"`
}

// history is how long CloudTrail keeps events for, and mostPages how many pages,
// of 50 events and from the newest on, are read for one name or one service:
// CloudTrail answers two requests a second.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
const (
	history   = 90 * 24 * time.Hour
	mostPages = 5
)

// mostEvents is how many events of one resource are told.
const mostEvents = 5

// events finds who may have done it. Where the caller may not look, that is
// noted and all else stands.
func (l *looking) events(ctx context.Context) error {
	if len(l.report.Items) == 0 {
		return nil
	}
	id, err := l.AWS.Identity(ctx)
	if err != nil {
		return err
	}
	w := &witness{looking: l, identity: id, found: map[string][]told{}}
	for n := range l.report.Items {
		i := &l.report.Items[n]
		i.Events, err = w.ask(ctx, i)
		switch {
		case awsapi.IsDenied(err):
			l.report.EventsUnknown = awsapi.Message(err)
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// witness asks CloudTrail, each question once.
type witness struct {
	*looking
	identity awsapi.Identity
	found    map[string][]told
}

// told is an event with its text.
type told struct {
	Event
	text string
}

// ask returns the events on an item since its stack was last updated.
func (w *witness) ask(ctx context.Context, i *Item) ([]Event, error) {
	since := w.updated[i.StackName]
	if oldest := w.AWS.Clock.Now().Add(-history); since.Before(oldest) {
		since = oldest
	}
	source := eventSource(i.Type)
	names, err := w.names(ctx, i)
	if err != nil {
		return nil, err
	}
	var all []told
	for _, n := range names {
		events, err := w.lookup(ctx, source, since, types.LookupAttributeKeyResourceName, n)
		if err != nil {
			return nil, err
		}
		all = append(all, events...)
	}
	if len(all) == 0 && source != "" {
		// Not every service's events can be found by their resources.
		events, err := w.lookup(ctx, source, since, types.LookupAttributeKeyEventSource, source)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if slices.ContainsFunc(names, func(n string) bool { return strings.Contains(e.text, `"`+n+`"`) }) {
				all = append(all, e)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b told) int { return b.Time.Compare(a.Time) })
	var out []Event
	for _, e := range all {
		if !slices.Contains(out, e.Event) && len(out) < mostEvents {
			out = append(out, e.Event)
		}
	}
	return out, nil
}

// parts are properties that name what a resource is a part of.
var parts = []string{"Bucket", "GroupId", "ListenerArn", "LoadBalancerArn", "RouteTableId", "SubnetId"}

// names are what events may call an item.
func (w *witness) names(ctx context.Context, i *Item) ([]string, error) {
	if i.PhysicalID == "" {
		return nil, nil
	}
	names := []string{i.PhysicalID}
	switch i.Type {
	case "AWS::KMS::Key":
		names = append(names, fmt.Sprintf("arn:%s:kms:%s:%s:key/%s", w.identity.Partition, w.AWS.Region, w.identity.Account, i.PhysicalID))
	case "AWS::EKS::Nodegroup", "AWS::EKS::Addon":
		// CLUSTER/NAME or CLUSTER|NAME
		if at := strings.LastIndexAny(i.PhysicalID, "/|"); at >= 0 {
			names = append(names, i.PhysicalID[at+1:])
		}
	}
	if i.Stack == "" || !i.Deleted {
		return names, nil
	}
	// What is gone may have gone as a part of something else.
	d := &stack.Driver{CFN: w.AWS.CloudFormation, Clock: w.AWS.Clock}
	body, err := d.Template(ctx, i.StackName)
	if _, unread := errors.AsType[*stack.TemplateError](err); unread {
		return names, nil // fewer calls are found
	}
	if err != nil {
		return nil, err
	}
	var doc struct {
		Resources map[string]struct{ Properties map[string]any }
	}
	if json.Unmarshal(body, &doc) != nil {
		return names, nil
	}
	var wholes []string
	for _, p := range parts {
		v, _ := doc.Resources[i.LogicalID].Properties[p].(map[string]any)
		switch ref := v["Fn::GetAtt"].(type) {
		case []any:
			id, _ := ref[0].(string)
			wholes = append(wholes, id)
		case string:
			id, _, _ := strings.Cut(ref, ".")
			wholes = append(wholes, id)
		}
		if id, ok := v["Ref"].(string); ok {
			wholes = append(wholes, id)
		}
	}
	if len(wholes) == 0 {
		return names, nil
	}
	held, err := d.Resources(ctx, i.StackName)
	if err != nil {
		return nil, err
	}
	for _, r := range held {
		if slices.Contains(wholes, r.LogicalID) && r.PhysicalID != "" && !slices.Contains(names, r.PhysicalID) {
			names = append(names, r.PhysicalID)
		}
	}
	return names, nil
}

// lookup reads events that wrote and succeeded, but for CloudFormation's own, of
// [mostPages] pages.
func (w *witness) lookup(ctx context.Context, source string, since time.Time, key types.LookupAttributeKey, value string) ([]told, error) {
	question := fmt.Sprint(source, since.Unix(), key, value)
	if known, ok := w.found[question]; ok {
		return known, nil
	}
	var out []told
	pages := cloudtrail.NewLookupEventsPaginator(w.AWS.CloudTrail, &cloudtrail.LookupEventsInput{
		StartTime: &since, LookupAttributes: []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}},
	})
	for n := 0; pages.HasMorePages() && n < mostPages; n++ {
		page, err := pages.NextPage(ctx, func(o *cloudtrail.Options) {
			if global(source) {
				o.Region = home(w.AWS.Region)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("ask CloudTrail about %s: %w", value, err)
		}
		for _, e := range page.Events {
			if x, ok := read(e); ok {
				out = append(out, x)
			}
		}
	}
	w.found[question] = out
	return out, nil
}

// read reads one event; false for one that is not to be told.
func read(e types.Event) (told, bool) {
	x := told{
		Event: Event{Time: aws.ToTime(e.EventTime).UTC(), Name: aws.ToString(e.EventName), Source: aws.ToString(e.EventSource), User: aws.ToString(e.Username)},
		text:  aws.ToString(e.CloudTrailEvent),
	}
	var record struct {
		ReadOnly        bool
		ErrorCode       string
		SourceIPAddress string
		UserIdentity    struct {
			ARN, InvokedBy string
			SessionContext struct{ SessionIssuer struct{ ARN string } }
		}
	}
	if json.Unmarshal([]byte(x.text), &record) != nil {
		// An event without a text says less, and is told all the same.
		return x, aws.ToString(e.ReadOnly) != "true"
	}
	x.Principal, x.From = record.UserIdentity.ARN, record.SourceIPAddress
	if issuer := record.UserIdentity.SessionContext.SessionIssuer.ARN; issuer != "" {
		x.Principal = issuer
	}
	own := strings.HasPrefix(record.UserIdentity.InvokedBy, "cloudformation.") || strings.HasPrefix(record.SourceIPAddress, "cloudformation.")
	return x, !own && !record.ReadOnly && record.ErrorCode == ""
}

// eventSource is the service whose events tell of a type; "" if it isn't known.
func eventSource(typ string) string {
	s := strings.Split(typ, "::")
	if len(s) < 2 {
		return ""
	}
	name := strings.ToLower(s[1])
	switch name {
	case "certificatemanager":
		name = "acm"
	case "cloudwatch":
		name = "monitoring"
	case "elasticloadbalancingv2":
		name = "elasticloadbalancing"
	}
	return name + ".amazonaws.com"
}

// global tells that a service's events are in its partition's home region. See
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html#cloudtrail-concepts-global-service-events
func global(source string) bool {
	return source == "iam.amazonaws.com" || source == "route53.amazonaws.com"
}

func home(region string) string {
	switch {
	case strings.HasPrefix(region, "us-gov-"):
		return "us-gov-west-1"
	case strings.HasPrefix(region, "cn-"):
		return "cn-north-1"
	}
	return "us-east-1"
}
