package main

// correction replaces the resource types of an action.
type correction struct{ on []string }

// corrections are where the facts are wrong. Classic and newer load balancers
// share a prefix, and for the actions that both have, the facts hold the
// resource types of the classic ones only. Those of the newer ones are in
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
func corrections() map[string]correction {
	balancer := []string{"loadbalancer", "loadbalancer/app/", "loadbalancer/net/"}
	all := []string{"loadbalancer", "listener-rule/app", "listener-rule/net", "listener/app", "listener/net", "loadbalancer/app/", "loadbalancer/net/", "targetgroup"}
	return map[string]correction{
		"elasticloadbalancing:AddTags":                      {all},
		"elasticloadbalancing:RemoveTags":                   {all},
		"elasticloadbalancing:CreateLoadBalancer":           {balancer},
		"elasticloadbalancing:DeleteLoadBalancer":           {balancer},
		"elasticloadbalancing:ModifyLoadBalancerAttributes": {balancer},
	}
}
