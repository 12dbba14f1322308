#include "kube/controllers/requests.h"

#include <algorithm>

#include "json/parse.h"
#include "kube/names.h"

namespace mr::kube {

namespace {

std::int64_t amount(const Value& v) {
  auto milli = quantity_milli(v.is_string() ? std::string_view(v.get_string()) : std::string_view(json::serialize(v)));
  return std::max<std::int64_t>(milli.value_or(0), 0);
}

// Sums stay below what 64 bits hold, whatever a manifest says.
std::int64_t plus(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

void add(Amounts& to, const Amounts& more) {
  for (const auto& [name, n] : more) to[name] = plus(to[name], n);
}

void at_least(Amounts& a, const Amounts& b) {
  for (const auto& [name, n] : b) a[name] = std::max(a[name], n);
}

Amounts container_requests(const Object& c) {
  Amounts out;
  if (text_at(c, "image").starts_with("millrace/")) return out;
  // A limit without a request is one.
  for (auto path : {"resources.limits", "resources.requests"})
    for (const auto& [name, v] : object_at(c, path)) out[std::string(name)] = amount(v);
  return out;
}

}  // namespace

Amounts pod_requests(const Object& pod) {
  Amounts sidecars, most;
  for (const auto& v : array_at(pod, "spec.initContainers")) {
    if (!v.is_object()) continue;
    auto one = container_requests(v.get_object());
    add(one, sidecars);
    at_least(most, one);
    if (text_at(v.get_object(), "restartPolicy") == "Always") sidecars = std::move(one);
  }
  Amounts sum = sidecars;
  for (const auto& v : array_at(pod, "spec.containers"))
    if (v.is_object()) add(sum, container_requests(v.get_object()));
  at_least(most, sum);
  for (const auto& [name, v] : object_at(pod, "spec.overhead"))
    most[std::string(name)] = plus(most[std::string(name)], amount(v));
  return most;
}

void Ledger::take(const std::string& uid, Amounts amounts) {
  release(uid);
  add(taken_, amounts);
  pods_[uid] = std::move(amounts);
}

bool Ledger::release(const std::string& uid) {
  auto it = pods_.find(uid);
  if (it == pods_.end()) return false;
  for (const auto& [name, n] : it->second) taken_[name] -= n;
  pods_.erase(it);
  return true;
}

std::vector<std::string> Ledger::lacking(const Amounts& asked, const Object& node) const {
  std::vector<std::string> out;
  const auto& has = object_at(node, "status.allocatable");
  if (has.empty()) return out;  // it has not said yet
  for (const auto& [name, n] : asked) {
    if (n <= 0) continue;
    const auto* all = has.if_contains(name);
    auto taken = taken_.find(name);
    if (plus(n, taken == taken_.end() ? 0 : taken->second) > (all == nullptr ? 0 : amount(*all)))
      out.push_back("Insufficient " + name);
  }
  return out;
}

}  // namespace mr::kube
