#include "serving/controller/writer.h"

#include <fmt/format.h>

namespace mr::serving {

using kube::Object;
using kube::ObjectPtr;
using kube::Value;

namespace {

bool owned_by(const Object& o, const Object& owner) {
  const auto* ref = kube::controller_of(o);
  return ref != nullptr && kube::text_at(*ref, "uid") == kube::uid_of(owner);
}

// A merge patch that makes `have` the same as `want` where `want` speaks; members of a selector that are not wanted go.
Object patch_of(const Object& have, const Object& want) {
  Object patch;
  for (const char* part : {"spec", "subsets"})
    if (const auto* w = want.if_contains(part)) {
      const auto* h = have.if_contains(part);
      if (h == nullptr || !covers(*h, *w)) patch[part] = *w;
    }
  const auto& selector = kube::object_at(have, "spec.selector");
  if (want.contains("spec") && !selector.empty()) {
    const auto& wanted = kube::object_at(want, "spec.selector");
    for (const auto& [k, _] : selector)
      if (!wanted.contains(k)) {
        if (!patch.contains("spec")) patch["spec"] = want.at("spec");
        kube::ensure(patch, "spec.selector")[k] = nullptr;
      }
  }
  const auto& labels = kube::object_at(want, "metadata.labels");
  if (!covers(Value(kube::object_at(have, "metadata.labels")), Value(labels)))
    kube::ensure(patch, "metadata")["labels"] = labels;
  return patch;
}

}  // namespace

bool covers(const Value& have, const Value& want) {
  if (const auto* w = want.if_object()) {
    const auto* h = have.if_object();
    if (h == nullptr) return false;
    for (const auto& [k, v] : *w) {
      const auto* m = h->if_contains(k);
      if (m == nullptr || !covers(*m, v)) return false;
    }
    return true;
  }
  if (const auto* w = want.if_array()) {
    const auto* h = have.if_array();
    if (h == nullptr || h->size() != w->size()) return false;
    for (std::size_t i = 0; i < w->size(); ++i)
      if (!covers((*h)[i], (*w)[i])) return false;
    return true;
  }
  if (have.is_number() && want.is_number()) return have.to_number<double>() == want.to_number<double>();
  return have == want;
}

task::Task<Result<void>> ensure_owned(kube::Client& client, kube::Gvr gvr, ObjectPtr owner, Object want,
                                      ObjectPtr current, bool adopt) {
  auto key = kube::key_of(want);
  if (!current) {
    auto made = co_await client.create(gvr, want);
    if (made) co_return Result<void>{};
    if (made.error().reason != "AlreadyExists") co_return std::unexpected(made.error());
    auto there = co_await client.get(gvr, key);
    if (!there) co_return std::unexpected(there.error());
    current = *there;
  }
  if (!adopt && !owned_by(*current, *owner))
    co_return fail(Code::failed_precondition,
                   fmt::format("{} \"{}\" exists and does not belong to this resource", kube::kind_of(want), key.name));
  auto patch = patch_of(*current, want);
  if (patch.empty()) co_return Result<void>{};
  auto done = co_await client.patch(gvr, key, kube::PatchType::merge, Value(std::move(patch)));
  if (!done) co_return std::unexpected(done.error());
  co_return Result<void>{};
}

}  // namespace mr::serving
