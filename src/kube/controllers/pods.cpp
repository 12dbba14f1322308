#include "kube/controllers/pods.h"

#include "json/parse.h"
#include "kube/names.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::kube {

std::int64_t unix_of(std::string_view t) {
  return std::max<std::int64_t>(0, time::parse_rfc3339_ns(t).value_or(0) / 1'000'000'000);
}

Object pod_of_template(const Object& owner, const Object& tmpl, std::string_view name) {
  Object pod = make_object("v1", "Pod", namespace_of(owner), name);
  auto& meta = metadata(pod);
  if (name.empty()) {
    meta.erase("name");
    meta["generateName"] = fmt::format("{}-", name_of(owner));
  }
  for (const char* f : {"labels", "annotations", "finalizers"})
    if (const auto* v = at(tmpl, fmt::format("metadata.{}", f))) meta[f] = *v;
  meta["ownerReferences"] = Array{owner_reference(owner)};
  pod["spec"] = object_at(tmpl, "spec");
  return pod;
}
bool pod_active(const Object& pod) {
  auto phase = text_at(pod, "status.phase");
  return phase != "Succeeded" && phase != "Failed" && !deleting(pod);
}
bool pod_ready(const Object& pod) {
  const auto* c = condition(pod, "Ready");
  return c != nullptr && text_at(*c, "status") == "True";
}
long until_available_ms(const Object& pod, std::int64_t seconds) {
  const auto* c = condition(pod, "Ready");
  if (seconds <= 0 || c == nullptr || text_at(*c, "status") != "True") return 0;
  auto since = unix_of(text_at(*c, "lastTransitionTime"));
  return static_cast<long>(std::max<std::int64_t>(0, (since + seconds) * 1000 - time::now_ms()));
}
bool pod_available(const Object& pod, std::int64_t seconds) {
  return pod_ready(pod) && until_available_ms(pod, seconds) == 0;
}

std::string template_hash(const Object& tmpl, std::int64_t collisions) {
  std::uint64_t h = 1469598103934665603ULL;
  auto mix = [&](std::string_view s) {
    for (unsigned char c : s) h = (h ^ c) * 1099511628211ULL;
  };
  mix(json::serialize(tmpl));
  if (collisions > 0) mix(std::to_string(collisions));
  std::string out;
  for (int i = 0; i < 10; ++i) {
    out += kNameLetters[h % kNameLetters.size()];
    h /= kNameLetters.size();
  }
  return out;
}

task::Task<void> seen(const Informer& informer, Key key, std::uint64_t revision) {
  for (int i = 0; i < 500; ++i) {
    auto o = informer.get(key);
    if (o && resource_version_of(*o) >= revision) co_return;
    co_await task::sleep_ms(1);
  }
}
task::Task<void> seen_gone(const Informer& informer, Key key, std::string uid) {
  for (int i = 0; i < 500; ++i) {
    auto o = informer.get(key);
    if (!o || uid_of(*o) != uid || deleting(*o)) co_return;
    co_await task::sleep_ms(1);
  }
}

std::vector<ObjectPtr> by_deletion_order(std::vector<ObjectPtr> pods) {
  auto rank = [](const Object& p) {
    auto phase = text_at(p, "status.phase");
    int r = phase == "Pending" ? 0 : phase == "Unknown" ? 1 : 2;
    return std::tuple(r, pod_ready(p));
  };
  std::ranges::sort(pods, [&](const ObjectPtr& a, const ObjectPtr& b) {
    auto ra = rank(*a);
    auto rb = rank(*b);
    if (ra != rb) return ra < rb;
    return text_at(*a, "metadata.creationTimestamp") > text_at(*b, "metadata.creationTimestamp");
  });
  return pods;
}

task::Task<Result<void>> create_pod(Manager& m, const Object& owner, Object pod, std::string_view component) {
  auto made = co_await m.client().create(gvr::pods, std::move(pod));
  if (!made) {
    m.event(owner, "Warning", "FailedCreate", fmt::format("Error creating: {}", made.error().message), component);
    co_return std::unexpected(made.error());
  }
  m.event(owner, "Normal", "SuccessfulCreate", fmt::format("Created pod: {}", name_of(**made)), component);
  co_await seen(m.informer(gvr::pods), key_of(**made), resource_version_of(**made));
  co_return Result<void>{};
}
task::Task<Result<void>> delete_pod(Manager& m, const Object& owner, ObjectPtr pod, std::string_view component) {
  auto done = co_await m.client().remove(gvr::pods, key_of(*pod), Propagation::background, std::string(uid_of(*pod)));
  if (!done && done.error().reason != "NotFound") {
    m.event(owner, "Warning", "FailedDelete", fmt::format("Error deleting: {}", done.error().message), component);
    co_return std::unexpected(done.error());
  }
  m.event(owner, "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", name_of(*pod)), component);
  co_await seen_gone(m.informer(gvr::pods), key_of(*pod), std::string(uid_of(*pod)));
  co_return Result<void>{};
}

task::Task<Result<void>> write_status(Manager& m, const Gvr& r, const Object& current, Object status) {
  const auto* old = current.if_contains("status");
  if (old != nullptr && *old == Value(status)) co_return Result<void>{};
  Object next = current;
  next["status"] = std::move(status);
  auto done = co_await m.client().update_status(r, std::move(next));
  if (!done && done.error().reason != "NotFound") co_return std::unexpected(done.error());
  if (done) co_await seen(m.informer(r), key_of(**done), resource_version_of(**done));
  co_return Result<void>{};
}

std::int64_t int_or_percent(const Value* v, std::int64_t total, bool up, std::int64_t otherwise) {
  if (v == nullptr) return otherwise;
  if (v->is_int64()) return v->get_int64();
  if (!v->is_string()) return otherwise;
  std::string_view s = v->get_string();
  if (!s.ends_with('%')) return otherwise;
  auto n = text::to_i64(s.substr(0, s.size() - 1));
  if (!n) return otherwise;
  return up ? (total * *n + 99) / 100 : total * *n / 100;
}

}  // namespace mr::kube
