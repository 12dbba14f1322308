#include "services/proxy.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <future>

#include "log/log.h"
#include "task/event.h"
#include "task/pool.h"

namespace mr::services {

namespace {

constexpr long kFirstRetryMs = 2000;
constexpr long kLastRetryMs = 60'000;
constexpr long kResolveAgainMs = 60'000;
constexpr const char* kComponent = "service-proxy";

std::vector<std::string> look_up(const std::string& host) {
  std::vector<std::string> ips;
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return ips;
  for (const auto* a = found; a != nullptr && ips.size() < 8; a = a->ai_next) {
    char text[INET_ADDRSTRLEN] = {};
    const auto* in = reinterpret_cast<const sockaddr_in*>(a->ai_addr);
    if (::inet_ntop(AF_INET, &in->sin_addr, text, sizeof text) != nullptr) ips.emplace_back(text);
  }
  ::freeaddrinfo(found);
  return ips;
}

}  // namespace

struct ServiceProxy::Impl : std::enable_shared_from_this<Impl> {
  Impl(task::Loops& loops, kube::Manager& m) : manager(m), relays(loops) {}

  kube::Manager& manager;
  Relays relays;
  Directory directory;
  Demand demand;
  kube::Informer* services = nullptr;
  kube::Informer* endpoints = nullptr;
  kube::Informer* slices = nullptr;
  kube::Informer* pods = nullptr;

  // All below: on the manager's loop only, save what the mutex guards.
  std::map<kube::Key, std::set<std::string>> slices_of;  // Service -> names of its slices
  std::set<kube::Key> dirty;
  bool scheduled = false, stopped = false;
  struct Place {
    std::string ip;
    std::uint16_t port = 0;
    auto operator<=>(const Place&) const = default;
  };
  struct Listening {
    kube::Key service;
    std::uint16_t service_port = 0;
    std::unique_ptr<Relays::Listener> listener;  // null: not yet
    long retry_ms = kFirstRetryMs;
    std::string told;  // the last trouble that was reported
    std::uint64_t turn = 0;
  };
  std::map<Place, Listening> listening;
  std::map<kube::Key, std::set<Place>> places_of;
  std::uint64_t turns = 0;

  mutable std::mutex mutex;
  std::map<std::string, std::vector<std::string>> resolved;
  std::set<std::string> resolving;

  void watch() {
    services = &manager.informer(kube::gvr::services);
    endpoints = &manager.informer(kube::gvr::endpoints);
    slices = &manager.informer(kube::gvr::endpointslices);
    pods = &manager.informer(kube::gvr::pods);
    auto self = shared_from_this();
    auto touch = [self](const kube::ObjectPtr& now, const kube::ObjectPtr& before) {
      self->mark(kube::key_of(now ? *now : *before));
    };
    services->on_change(touch);
    endpoints->on_change(touch);
    slices->on_change([self](const kube::ObjectPtr& now, const kube::ObjectPtr& before) {
      for (const auto& o : {before, now}) {
        if (!o) continue;
        kube::Key key{std::string(kube::namespace_of(*o)), std::string(kube::label(*o, "kubernetes.io/service-name"))};
        if (key.name.empty()) continue;
        auto& names = self->slices_of[key];
        if (now)
          names.insert(std::string(kube::name_of(*o)));
        else
          names.erase(std::string(kube::name_of(*o)));
        self->mark(key);
      }
    });
    pods->on_change([self](const kube::ObjectPtr& now, const kube::ObjectPtr& before) {
      // Only the labels of a pod matter here, and only to Services that lead to it.
      if (!now || (before && kube::object_at(*now, "metadata.labels") == kube::object_at(*before, "metadata.labels")))
        return;
      auto key = kube::key_of(*now);
      auto map = self->directory.all();
      for (auto it = map->lower_bound({key.ns, ""}); it != map->end() && it->first.ns == key.ns; ++it)
        for (const auto& p : it->second->ports)
          if (std::ranges::any_of(p->ready, [&](const auto& e) { return e->pod == key.name; })) self->mark(it->first);
    });
  }

  void mark(kube::Key key) {
    dirty.insert(std::move(key));
    if (std::exchange(scheduled, true)) return;
    manager.loop().post([self = shared_from_this()] { self->flush(); });
  }

  void flush() {
    scheduled = false;
    if (stopped) return;
    auto map = std::make_shared<Directory::Map>(*directory.all());
    auto keys = std::exchange(dirty, {});
    for (const auto& key : keys) {
      auto object = services->get(key);
      if (!object || kube::deleting(*object)) {
        map->erase(key);
        continue;
      }
      auto own = endpoints->get(key);
      std::vector<kube::ObjectPtr> parts;
      if (auto it = slices_of.find(key); it != slices_of.end())
        for (const auto& name : it->second)
          if (auto s = slices->get({key.ns, name})) parts.push_back(std::move(s));
      auto labels = [this](const std::string& ns, const std::string& pod) -> const kube::Object* {
        auto p = pods->get({ns, pod});
        return p ? &kube::object_at(*p, "metadata.labels") : nullptr;
      };
      auto& slot = (*map)[key];
      slot = make_service(object, own.get(), parts, labels, slot.get());
    }
    directory.replace(map);
    for (const auto& key : keys) {
      if (auto meter = demand.find(key.ns, key.name)) meter->wake();
      auto it = map->find(key);
      arrange(key, it == map->end() ? nullptr : it->second);
      if (it != map->end() && !it->second->external_name.empty()) resolve(it->second->external_name);
    }
  }

  // Listeners of a Service: those that it needs are there, no others.
  void arrange(const kube::Key& key, const ServicePtr& service) {
    std::map<Place, std::uint16_t> wanted;
    if (service) {
      for (const auto& p : service->ports) {
        in_addr a{};
        if (::inet_pton(AF_INET, service->cluster_ip.c_str(), &a) == 1 && (ntohl(a.s_addr) >> 24) == 127)
          wanted[{service->cluster_ip, p->port}] = p->port;
        if (p->node_port != 0) wanted[{"127.0.0.1", p->node_port}] = p->port;
      }
    }
    auto& mine = places_of[key];
    for (auto it = mine.begin(); it != mine.end();) {
      auto w = wanted.find(*it);
      auto l = listening.find(*it);
      if (w != wanted.end() && l != listening.end() && l->second.service_port == w->second) {
        ++it;
        continue;
      }
      if (l != listening.end() && l->second.service == key) listening.erase(l);
      it = mine.erase(it);
    }
    for (const auto& [place, port] : wanted) {
      if (mine.contains(place) || listening.contains(place)) continue;
      mine.insert(place);
      Listening l;
      l.service = key;
      l.service_port = port;
      l.turn = ++turns;
      auto& slot = listening[place] = std::move(l);
      open(place, slot);
    }
    if (mine.empty()) places_of.erase(key);
  }

  void open(const Place& place, Listening& l) {
    auto pick_one = [self = shared_from_this(), key = l.service, port = l.service_port](
                        std::string_view client, const std::vector<EndpointPtr>& tried) -> EndpointPtr {
      auto s = self->directory.find(key.ns, key.name);
      const auto* p = s ? s->find(port) : nullptr;
      if (p == nullptr) return nullptr;
      Choice c;
      c.tried = &tried;
      if (s->client_affinity) c.client = client;
      return pick(*p, c);
    };
    auto made = relays.listen(place.ip, place.port, std::move(pick_one));
    if (made) {
      l.listener = std::move(*made);
      if (!l.told.empty())
        say(l.service, "Normal", "Listening", fmt::format("listening on {}:{}", place.ip, place.port));
      l.told.clear();
      return;
    }
    if (l.told != made.error().message) {
      l.told = made.error().message;
      log::warn("a Service's address cannot be listened on",
                {{"namespace", l.service.ns}, {"service", l.service.name}, {"reason", l.told}});
      say(l.service, "Warning", "ListenFailed", l.told);
    }
    task::detach(again(shared_from_this(), place, l.turn, l.retry_ms));
    l.retry_ms = std::min(l.retry_ms * 2, kLastRetryMs);
  }
  static task::Task<void> again(std::shared_ptr<Impl> self, Place place, std::uint64_t turn, long ms) {
    co_await task::sleep_ms(ms);
    auto it = self->listening.find(place);
    if (self->stopped || it == self->listening.end() || it->second.turn != turn) co_return;
    self->open(place, it->second);
  }
  void say(const kube::Key& key, std::string_view type, std::string_view reason, std::string text) {
    if (auto s = services->get(key)) manager.event(*s, type, reason, std::move(text), kComponent);
  }

  void resolve(const std::string& host) {
    {
      std::lock_guard guard(mutex);
      if (!resolving.insert(host).second) return;
    }
    task::detach(keep_resolved(shared_from_this(), host));
  }
  static task::Task<void> keep_resolved(std::shared_ptr<Impl> self, std::string host) {
    for (;;) {
      auto ips = co_await task::run_on(task::disk_pool(), [host] { return look_up(host); });
      if (self->stopped) co_return;
      if (ips) {
        std::lock_guard guard(self->mutex);
        if (!ips->empty()) self->resolved[host] = std::move(*ips);
      }
      co_await task::sleep_ms(kResolveAgainMs);
      if (self->stopped) co_return;
      auto map = self->directory.all();
      bool used = std::ranges::any_of(*map, [&](const auto& kv) { return kv.second->external_name == host; });
      if (used) continue;
      std::lock_guard guard(self->mutex);
      self->resolving.erase(host);
      self->resolved.erase(host);
      co_return;
    }
  }
};

ServiceProxy::ServiceProxy(task::Loops& loops, kube::Manager& manager)
    : impl_(std::make_shared<Impl>(loops, manager)) {}
ServiceProxy::~ServiceProxy() = default;

void ServiceProxy::start() { impl_->watch(); }

void ServiceProxy::stop() {
  std::promise<void> done;
  impl_->manager.loop().post([&] {
    impl_->stopped = true;
    impl_->listening.clear();
    done.set_value();
  });
  done.get_future().wait();
  impl_->relays.stop();
}

const Directory& ServiceProxy::directory() const { return impl_->directory; }
Relays& ServiceProxy::relays() const { return impl_->relays; }
Demand& ServiceProxy::demand() const { return impl_->demand; }

Lines ServiceProxy::hosts(std::string_view own_ns) const {
  auto map = impl_->directory.all();
  return hosts_lines(*map, own_ns, [this](const std::string& host) {
    std::lock_guard guard(impl_->mutex);
    auto it = impl_->resolved.find(host);
    return it == impl_->resolved.end() ? std::vector<std::string>{} : it->second;
  });
}

}  // namespace mr::services
