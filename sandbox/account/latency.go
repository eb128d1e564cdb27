package account

import (
	"hash/fnv"
	"math"
	"strings"
	"time"
)

// latency is how long AWS takes, in seconds: minimum, typical, maximum, by
// type and operation.
var latency = map[string][3]float64{
	"eks:cluster/create":            {500, 600, 970},
	"eks:cluster/update-config":     {120, 285, 600},
	"eks:cluster/update-version":    {480, 560, 900},
	"eks:cluster/delete":            {69, 205, 522},
	"eks:nodegroup/create":          {88, 125, 201},
	"eks:nodegroup-gpu/create":      {180, 300, 600},
	"eks:nodegroup/join-timeout":    {900, 1500, 2100},
	"eks:nodegroup/update-per-node": {120, 220, 900},
	"eks:nodegroup/delete":          {250, 380, 501},
	"eks:addon/create":              {14, 15, 56},
	"eks:addon/delete":              {5, 7, 60},
	"eks:idp/associate":             {300, 433, 2100},
	"eks:access-entry/create":       {1, 1, 10},
	"ec2:natgw/create":              {85, 106, 125},
	"ec2:natgw/delete":              {42, 65, 94},
	"ec2:vpc/create":                {2, 12, 24},
	"ec2:subnet/create":             {1, 4, 10},
	"ec2:routetable/create":         {1, 12, 15},
	"ec2:sg/create":                 {1, 6, 10},
	"ec2:igw/create":                {1, 17, 20},
	"ec2:igw/delete":                {1, 3, 66},
	"ec2:eip/create":                {1, 17, 20},
	"ec2:vpce-interface/create":     {30, 47, 120},
	"ec2:tgw-attachment/create":     {60, 90, 180},
	"ec2:tgw-attachment/delete":     {45, 60, 120},
	"ec2:vpc-cidr/create":           {5, 12, 30},
	"rds:instance-single/create":    {315, 420, 480},
	"rds:instance-multiaz/create":   {600, 800, 1026},
	"rds:instance/modify":           {60, 171, 900},
	"rds:instance/delete-nosnap":    {255, 285, 385},
	"rds:instance/delete-snap":      {375, 600, 985},
	"rds:snapshot/create":           {60, 150, 600},
	"elbv2:lb/create":               {116, 142, 172},
	"elbv2:lb/delete":               {15, 60, 600},
	"acm:cert/dns-validate":         {60, 150, 532},
	"kms:key/create-cfn":            {20, 122, 130},
	"kms:key/create-api":            {12, 22, 29},
	"kms:alias/create":              {5, 62, 65},
	"iam:role/create":               {1, 12, 17},
	"iam:instance-profile/create":   {60, 126, 130},
	"iam:oidc-provider/create":      {1, 2, 3},
	"iam:*/propagate":               {0, 5, 60},
	"s3:bucket/create":              {2, 30, 31},
	"ecr:repo/create":               {1, 1, 2},
	"ssm:parameter/put":             {1, 1, 1},
	"route53:zone/create":           {20, 71, 120},
	"route53:record/upsert":         {10, 20, 60},
	"cfn:stack/overhead":            {5, 15, 60},
	"helm:lb-controller/install":    {20, 45, 300},
}

// Duration is how long the operation op takes on r: the typical time, or, with
// a seed, a log-normal draw around it that never leaves the range seen on AWS.
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
	return tx.Latency(row, r.ID)
}

// Latency draws a duration for a row of the table, "eks:cluster/create"; the
// same subject draws the same duration.
func (tx *Tx) Latency(row, subject string) time.Duration {
	l, ok := latency[row]
	if !ok {
		return 2 * time.Second
	}
	s := l[1]
	if tx.a.opts.Seed != 0 {
		h := fnv.New64a()
		h.Write([]byte(strings.Join([]string{row, subject}, "|")))
		u := mix(h.Sum64() ^ tx.a.opts.Seed)
		// Box-Muller: a normal draw from two uniform halves of u.
		u1 := (float64(u>>32) + 1) / (1 << 32)
		u2 := float64(u&0xffffffff) / (1 << 32)
		z := math.Sqrt(-2*math.Log(min(u1, 1))) * math.Cos(2*math.Pi*u2)
		// The range is read as two standard deviations either side.
		sigma := math.Log(max(l[2], 1)/max(l[0], 0.5)) / 4
		s = min(max(l[1]*math.Exp(sigma*z), l[0]), l[2])
	}
	return time.Duration(s * float64(time.Second))
}
