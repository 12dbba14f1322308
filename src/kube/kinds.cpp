#include "kube/kinds.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "kube/kinds_parse.h"

namespace mr::kube {

namespace {

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wc23-extensions"
constexpr char meta_text[] = {
#embed "kinds/meta.kinds"
};
constexpr char core_pods_text[] = {
#embed "kinds/core_pods.kinds"
};
constexpr char core_volumes_text[] = {
#embed "kinds/core_volumes.kinds"
};
constexpr char core_objects_text[] = {
#embed "kinds/core_objects.kinds"
};
constexpr char apps_text[] = {
#embed "kinds/apps.kinds"
};
constexpr char batch_text[] = {
#embed "kinds/batch.kinds"
};
constexpr char networking_text[] = {
#embed "kinds/networking.kinds"
};
constexpr char policy_text[] = {
#embed "kinds/policy.kinds"
};
constexpr char autoscaling_text[] = {
#embed "kinds/autoscaling.kinds"
};
constexpr char events_text[] = {
#embed "kinds/events.kinds"
};
constexpr char rbac_text[] = {
#embed "kinds/rbac.kinds"
};
constexpr char auth_text[] = {
#embed "kinds/auth.kinds"
};
constexpr char apiextensions_text[] = {
#embed "kinds/apiextensions.kinds"
};
constexpr char metrics_text[] = {
#embed "kinds/metrics.kinds"
};
constexpr char istio_text[] = {
#embed "kinds/istio.kinds"
};
constexpr char kubeflow_text[] = {
#embed "kinds/kubeflow.kinds"
};
constexpr char kserve_text[] = {
#embed "kinds/kserve.kinds"
};
#pragma clang diagnostic pop

struct File {
  std::string_view name, text;
};
template <std::size_t N>
constexpr std::string_view view(const char (&text)[N]) {
  return {text, N};
}
constexpr File files[] = {
    {"meta.kinds", view(meta_text)},
    {"core_pods.kinds", view(core_pods_text)},
    {"core_volumes.kinds", view(core_volumes_text)},
    {"core_objects.kinds", view(core_objects_text)},
    {"apps.kinds", view(apps_text)},
    {"batch.kinds", view(batch_text)},
    {"networking.kinds", view(networking_text)},
    {"policy.kinds", view(policy_text)},
    {"autoscaling.kinds", view(autoscaling_text)},
    {"events.kinds", view(events_text)},
    {"rbac.kinds", view(rbac_text)},
    {"auth.kinds", view(auth_text)},
    {"apiextensions.kinds", view(apiextensions_text)},
    {"metrics.kinds", view(metrics_text)},
    {"istio.kinds", view(istio_text)},
    {"kubeflow.kinds", view(kubeflow_text)},
    {"kserve.kinds", view(kserve_text)},
};

// The order of groups in discovery: what a real server gives first comes first; other groups by name.
constexpr std::string_view group_order[] = {
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
};
std::size_t rank(std::string_view group) {
  return static_cast<std::size_t>(std::ranges::find(group_order, group) - std::begin(group_order));
}
bool before(const KindPtr& a, const KindPtr& b) {
  const auto ra = rank(a->group), rb = rank(b->group);
  return std::tie(ra, a->group, a->plural) < std::tie(rb, b->group, b->plural);
}

struct Snapshot {
  std::vector<KindPtr> all;  // ordered by `before`
  // Group and name; the views are of the kinds themselves.
  std::map<std::pair<std::string_view, std::string_view>, KindPtr> by_plural, by_kind;
};

std::shared_ptr<const Snapshot> index(std::vector<KindPtr> all) {
  auto s = std::make_shared<Snapshot>();
  s->all = std::move(all);
  std::ranges::sort(s->all, before);
  for (const auto& k : s->all) {
    s->by_plural.emplace(std::pair<std::string_view, std::string_view>(k->group, k->plural), k);
    s->by_kind.emplace(std::pair<std::string_view, std::string_view>(k->group, k->kind), k);
  }
  return s;
}

// One counter for the whole process, so that a generation names the same kinds wherever it is seen.
std::uint64_t next_generation() {
  static std::atomic<std::uint64_t> n{0};
  return ++n;
}

}  // namespace

const Descriptions& builtin_descriptions() {
  static const Descriptions* const all = [] {
    auto* d = new Descriptions;  // NOLINT: lives as long as the process, as every Type does
    auto check = [](const Result<void>& r) {
      if (r) return;
      fmt::print(stderr, "millrace: the descriptions of kinds are broken: {}\n", r.error().message);
      std::abort();
    };
    for (const auto& f : files) check(parse_descriptions(f.text, f.name, *d));
    check(resolve_descriptions(*d));
    return d;
  }();
  return *all;
}

const Field* Type::find(std::string_view field) const {
  for (const auto& f : fields)
    if (f.name == field) return &f;
  return nullptr;
}

const Field* Type::by_number(std::uint16_t proto) const {
  for (const auto& f : fields)
    if (f.proto == proto && f.proto_in == 0) return &f;
  return nullptr;
}

const KindVersion* Kind::version(std::string_view v) const {
  for (const auto& x : versions)
    if (x.name == v) return &x;
  return nullptr;
}

const KindVersion& Kind::storage() const {
  for (const auto& x : versions)
    if (x.storage) return x;
  return versions.front();
}

struct Kinds::Impl {
  mutable std::mutex mutex;
  std::shared_ptr<const Snapshot> snapshot;
  std::uint64_t generation = 0;

  std::shared_ptr<const Snapshot> get() const {
    const std::lock_guard lock(mutex);
    return snapshot;
  }
};

Kinds::Kinds() : impl_(std::make_unique<Impl>()) {
  const auto& d = builtin_descriptions();
  impl_->snapshot = index({d.kinds.begin(), d.kinds.end()});
  impl_->generation = next_generation();
}
Kinds::~Kinds() = default;

KindPtr Kinds::find(std::string_view group, std::string_view version, std::string_view plural) const {
  const auto s = impl_->get();
  const auto it = s->by_plural.find(std::pair(group, plural));
  if (it == s->by_plural.end()) return nullptr;
  const auto* v = it->second->version(version);
  return v && v->served ? it->second : nullptr;
}

KindPtr Kinds::by_kind(std::string_view group, std::string_view kind) const {
  const auto s = impl_->get();
  const auto it = s->by_kind.find(std::pair(group, kind));
  return it == s->by_kind.end() ? nullptr : it->second;
}

std::vector<KindPtr> Kinds::all() const { return impl_->get()->all; }

void Kinds::put(KindPtr kind) {
  const std::lock_guard lock(impl_->mutex);
  auto all = impl_->snapshot->all;
  std::erase_if(all, [&](const KindPtr& k) { return k->group == kind->group && k->plural == kind->plural; });
  all.push_back(std::move(kind));
  impl_->snapshot = index(std::move(all));
  impl_->generation = next_generation();
}

void Kinds::remove(std::string_view group, std::string_view plural) {
  const std::lock_guard lock(impl_->mutex);
  auto all = impl_->snapshot->all;
  std::erase_if(all, [&](const KindPtr& k) { return k->group == group && k->plural == plural; });
  impl_->snapshot = index(std::move(all));
  impl_->generation = next_generation();
}

std::uint64_t Kinds::generation() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->generation;
}

const Type* builtin_type(std::string_view name) {
  const auto& d = builtin_descriptions();
  const auto it = d.by_name.find(name);
  return it == d.by_name.end() ? nullptr : it->second;
}

}  // namespace mr::kube
