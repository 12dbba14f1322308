#include "kube/controllers/owned.h"

#include "kube/admission.h"
#include "kube/controllers/pods.h"

namespace mr::kube {

namespace {

bool is_controlled_by(const Object& o, const Object& owner) {
  const auto* c = controller_of(o);
  return c != nullptr && text_at(*c, "uid") == uid_of(owner);
}

// True: the part was different.
bool put_right(Object& o, const Object& wanted, std::string_view path) {
  const auto* want = at(wanted, path);
  const auto* have = at(o, path);
  if (want == nullptr && have == nullptr) return false;
  if (want != nullptr && have != nullptr && same(*want, *have)) return false;
  auto dot = path.rfind('.');
  auto& parent = dot == std::string_view::npos ? o : ensure(o, path.substr(0, dot));
  auto name = dot == std::string_view::npos ? path : path.substr(dot + 1);
  if (want != nullptr)
    parent[name] = *want;
  else
    parent.erase(name);
  return true;
}

}  // namespace

task::Task<Result<void>> keep_owned(Manager& m, const Kinds& kinds, Gvr r, const Object& owner, Object wanted,
                                    std::initializer_list<std::string_view> parts, Found found) {
  const std::vector<std::string> paths(parts.begin(), parts.end());
  metadata(wanted)["ownerReferences"] = Array{owner_reference(owner)};
  auto& informer = m.informer(r);
  auto key = key_of(wanted);
  auto current = informer.get(key);
  if (!current) {
    auto made = co_await m.client().create(r, std::move(wanted));
    if (made) {
      co_await seen(informer, key, resource_version_of(**made));
      co_return Result<void>{};
    }
    if (made.error().reason != "AlreadyExists") co_return std::unexpected(made.error());
    // It came in the meantime: look again.
    auto e = made.error();
    e.reason = "Conflict";
    co_return std::unexpected(std::move(e));
  }
  if (found == Found::must_be_ours && !is_controlled_by(*current, owner))
    co_return fail(Code::conflict,
                   fmt::format("{} {} is there already and not this {}'s", kind_of(*current), key.name, kind_of(owner)),
                   "Conflict");
  // What is there carries the defaults.
  if (auto kind = kinds.find(r.group, r.version, r.plural))
    if (const auto* version = kind->version(r.version)) set_defaults(*kind, *version, wanted);
  Object next = *current;
  bool differs = false;
  for (const auto& path : paths) differs = put_right(next, wanted, path) || differs;
  if (!differs) co_return Result<void>{};
  auto done = co_await m.client().update(r, std::move(next));
  if (!done) co_return std::unexpected(done.error());
  co_await seen(informer, key, resource_version_of(**done));
  co_return Result<void>{};
}

}  // namespace mr::kube
