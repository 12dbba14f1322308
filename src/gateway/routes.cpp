#include "gateway/api.h"
#include "text/text.h"

namespace mr::gateway {

namespace {
// "/a/b/" covers "/a/b" and "/a/b/c", not "/a/bc".
bool covers(std::string_view prefix, std::string_view path) {
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}
}  // namespace

void Routes::put(const std::string& owner, std::vector<Route> routes) {
  std::lock_guard guard(mutex_);
  auto& slot = by_owner_[owner];
  slot.clear();
  for (auto& r : routes) {
    r.host = text::lower(r.host);
    slot.push_back(std::make_shared<const Route>(std::move(r)));
  }
  publish();
}
void Routes::remove(const std::string& owner) {
  std::lock_guard guard(mutex_);
  if (by_owner_.erase(owner) > 0) publish();
}

void Routes::publish() {
  auto s = std::make_shared<Snapshot>();
  // Longest first; equal ones in the order of their owners.
  auto insert = [](std::vector<RoutePtr>& list, const RoutePtr& r) {
    auto size = r->path_prefix.size();
    auto at = std::ranges::find_if(list, [&](const RoutePtr& o) { return o->path_prefix.size() < size; });
    list.insert(at, r);
  };
  for (const auto& [owner, list] : by_owner_)
    for (const auto& r : list) insert(r->host.empty() ? s->paths : s->hosts[r->host], r);
  snapshot_.store(std::move(s));
}

Routes::Found Routes::by_host(std::string_view host, std::string_view path) const {
  auto s = snapshot_.load();
  auto it = s->hosts.find(std::string(host));
  if (it == s->hosts.end()) return {};
  for (const auto& r : it->second)
    if (covers(r->path_prefix, path)) return {r, true};
  return {nullptr, true};
}
Routes::Found Routes::by_path(std::string_view path) const {
  auto s = snapshot_.load();
  for (const auto& r : s->paths)
    if (covers(r->path_prefix, path)) return {r, true};
  return {};
}

}  // namespace mr::gateway
