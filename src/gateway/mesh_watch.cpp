#include "gateway/mesh_watch.h"

#include "log/log.h"
#include "task/event.h"

namespace mr::gateway {

namespace {
constexpr const char* kComponent = "front-door";
constexpr const char* kCondition = "Reconciled";
constexpr long kGatherMs = 5;  // changes that come together are compiled once
}  // namespace

struct MeshWatch::Impl : std::enable_shared_from_this<MeshWatch::Impl> {
  explicit Impl(kube::Manager& m) : manager(m) {}
  kube::Manager& manager;
  struct Watched {
    std::string kind;
    kube::Gvr resource;
    kube::Informer* informer = nullptr;
  };
  std::vector<Watched> watched = {{"VirtualService", kube::gvr::virtualservices, nullptr},
                                  {"DestinationRule", kube::gvr::destinationrules, nullptr},
                                  {"Gateway", kube::gvr::gateways, nullptr}};
  std::atomic<std::shared_ptr<const mesh::RouteTable>> table{mesh::compile({}).table};
  bool scheduled = false, stopped = false;
  std::map<std::string, std::string> told;  // "KIND/NS/NAME" -> what its event said

  void watch() {
    auto self = shared_from_this();
    for (auto& w : watched) {
      w.informer = &manager.informer(w.resource);
      w.informer->on_change([self](const kube::ObjectPtr& now, const kube::ObjectPtr& before) {
        // A change of the status alone, ours included, changes no route.
        if (now && before) {
          const auto* a = kube::at(*now, "spec");
          const auto* b = kube::at(*before, "spec");
          if (a != nullptr && b != nullptr && *a == *b) return;
        }
        if (std::exchange(self->scheduled, true)) return;
        self->manager.loop().post([self] { task::detach(compile_soon(self)); });
      });
    }
  }
  static task::Task<void> compile_soon(std::shared_ptr<Impl> self) {
    co_await task::sleep_ms(kGatherMs);
    self->scheduled = false;
    if (self->stopped) co_return;
    auto out = mesh::compile(
        {self->watched[0].informer->list(), self->watched[1].informer->list(), self->watched[2].informer->list()});
    self->table.store(out.table);
    log::debug("routes compiled", {{"rules", out.table->size()}, {"notices", out.notices.size()}});
    co_await self->tell(std::move(out.notices));
  }

  // An event for each fault that is new, and a condition that stays.
  task::Task<void> tell(std::vector<mesh::Notice> notices) {
    std::map<std::string, std::string> now;
    std::map<std::string, bool> fatal;
    for (auto& n : notices) {
      auto key = fmt::format("{}/{}/{}", n.kind, n.ns, n.name);
      auto& text = now[key];
      if (!text.empty()) text += "; ";
      text += n.message;
      fatal[key] = fatal[key] || n.fatal;
    }
    auto before = std::exchange(told, now);
    for (const auto& w : watched) {
      for (const auto& o : w.informer->list()) {
        auto key = fmt::format("{}/{}/{}", w.kind, kube::namespace_of(*o), kube::name_of(*o));
        auto it = now.find(key);
        auto old = before.find(key);
        if (it != now.end() && (old == before.end() || old->second != it->second)) {
          log::warn("a routing rule is not used as written", {{"object", key}, {"reason", it->second}});
          manager.event(*o, "Warning", fatal[key] ? "InvalidRule" : "RuleNotEffective", it->second, kComponent);
        }
        if (it == now.end() && kube::condition(*o, kCondition) == nullptr) continue;
        kube::Object copy;
        if (const auto* status = kube::at(*o, "status"); status != nullptr && status->is_object())
          copy["status"] = *status;
        bool changed = it == now.end() ? kube::set_condition(copy, kCondition, "True", "Reconciled", "")
                                       : kube::set_condition(copy, kCondition, "False",
                                                             fatal[key] ? "Invalid" : "NotEffective", it->second);
        if (!changed) continue;
        kube::Object body;
        body["status"] = {{"conditions", *kube::at(copy, "status.conditions")}};
        auto written = co_await manager.client().patch(w.resource, kube::key_of(*o), kube::PatchType::merge,
                                                       std::move(body), "status", kComponent);
        if (!written)
          log::debug("a rule's status was not written", {{"object", key}, {"reason", written.error().message}});
        if (stopped) co_return;
      }
    }
  }
};

MeshWatch::MeshWatch(kube::Manager& manager) : impl_(std::make_shared<Impl>(manager)) {}
MeshWatch::~MeshWatch() = default;
void MeshWatch::start() { impl_->watch(); }
void MeshWatch::stop() {
  impl_->manager.loop().post([i = impl_] { i->stopped = true; });
}
std::shared_ptr<const mesh::RouteTable> MeshWatch::table() const { return impl_->table.load(); }

}  // namespace mr::gateway
