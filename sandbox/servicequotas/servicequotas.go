// Package servicequotas is Service Quotas: what an account may have of
// everything, as package quota knows it and the services enforce it.
//
// Limits: quotas can't be raised here, requests and templates for that are not
// modelled; an account's values are given from outside, see [account.World].
package servicequotas

import (
	"cmp"
	"maps"
	"slices"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/quota"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// Service is the API of Service Quotas as far as it is modelled.
// https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_Operations.html
func Service() wire.Service {
	return wire.Service{Name: "servicequotas", Target: "ServiceQuotasV20190624", Protocol: wire.JSON11, Operations: []wire.Operation{
		{Name: "GetServiceQuota", Do: get(applied)},
		{Name: "GetAWSDefaultServiceQuota", Do: get(published)},
		{Name: "ListServiceQuotas", Do: list(applied)},
		{Name: "ListAWSDefaultServiceQuotas", Do: list(published)},
		{Name: "ListServices", Do: listServices},
	}}
}

type object = map[string]any

// applied shows the account's own value, published the one that AWS publishes.
func applied(tx *account.Tx, q *quota.Quota) object {
	out := view(q, q.Value(tx))
	out["QuotaArn"], out["QuotaAppliedAtLevel"] = tx.ARN("servicequotas", q.Service+"/"+q.Code), "ACCOUNT"
	return out
}

func published(tx *account.Tx, q *quota.Quota) object {
	out := view(q, q.Default)
	out["QuotaArn"] = "arn:" + tx.Partition() + ":servicequotas:" + tx.Region() + "::" + q.Service + "/" + q.Code
	return out
}

func view(q *quota.Quota, value int) object {
	return object{
		"ServiceCode": q.Service, "ServiceName": quota.Services()[q.Service], "QuotaCode": q.Code, "QuotaName": q.Name,
		"Value": float64(value), "Unit": "None", "Adjustable": q.Adjustable, "GlobalQuota": q.Global,
	}
}

// of are the quotas of the request's service, by code.
func of(r *wire.Request) ([]*quota.Quota, error) {
	service := r.String("ServiceCode")
	if quota.Services()[service] == "" {
		return nil, account.Errorf("NoSuchResourceException", "The request failed because the specified service does not exist.")
	}
	all := slices.DeleteFunc(quota.All(), func(q *quota.Quota) bool { return q.Service != service || q.Code == "" })
	slices.SortFunc(all, func(a, b *quota.Quota) int { return cmp.Compare(a.Code, b.Code) })
	return all, nil
}

type do = func(*account.Tx, *wire.Request) (any, error)

func get(show func(*account.Tx, *quota.Quota) object) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		if r.Has("ContextId") {
			return nil, account.NotModelled("quotas of single resources are not modelled by the sandbox")
		}
		all, err := of(r)
		if err != nil {
			return nil, err
		}
		for _, q := range all {
			if q.Code == r.String("QuotaCode") {
				return object{"Quota": show(tx, q)}, nil
			}
		}
		return nil, account.Errorf("NoSuchResourceException", "The request failed because the specified service quota does not exist.")
	}
}

func list(show func(*account.Tx, *quota.Quota) object) do {
	return func(tx *account.Tx, r *wire.Request) (any, error) {
		all, err := of(r)
		if err != nil {
			return nil, err
		}
		items := []any{}
		for _, q := range all {
			if code := r.String("QuotaCode"); code == "" || code == q.Code {
				items = append(items, show(tx, q))
			}
		}
		return page(r, "Quotas", items)
	}
}

func listServices(_ *account.Tx, r *wire.Request) (any, error) {
	names, items := quota.Services(), []any{}
	for _, code := range slices.Sorted(maps.Keys(names)) {
		items = append(items, object{"ServiceCode": code, "ServiceName": names[code]})
	}
	return page(r, "Services", items)
}

func page(r *wire.Request, member string, items []any) (any, error) {
	most := r.Int("MaxResults", 100)
	if most < 1 || most > 100 {
		return nil, account.Errorf("IllegalArgumentException", "1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must have value between 1 and 100", most)
	}
	items, next, err := wire.Page(items, r.String("NextToken"), most, "InvalidPaginationTokenException")
	if err != nil {
		return nil, err
	}
	out := object{member: items}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}
