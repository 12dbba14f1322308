#include "kube/kit.h"

#include <future>

#include "crypto/digest.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "time/clock.h"

namespace mr::kube {

namespace {

constexpr long kFirstRetryMs = 5;
constexpr long kLastRetryMs = 300'000;
constexpr long kMissingKindMs = 30'000;

long back_off(int failures) { return std::min(kLastRetryMs, kFirstRetryMs << std::min(failures, 16)); }

// Set once the manager stops; what sleeps holds a share and looks at it before it touches the manager.
struct Life {
  bool stopping = false;
  int running = 0;  // coroutines that use the manager
  std::promise<void> ended;
  void leave() {
    if (--running == 0 && stopping) ended.set_value();
  }
};
using LifePtr = std::shared_ptr<Life>;

class InformerImpl : public Informer {
 public:
  explicit InformerImpl(Gvr r) : resource(std::move(r)) {}

  ObjectPtr get(const Key& key) const override {
    auto at = items_.find(key);
    return at == items_.end() ? nullptr : at->second;
  }
  std::vector<ObjectPtr> list(std::string_view ns) const override {
    std::vector<ObjectPtr> out;
    auto at = ns.empty() ? items_.begin() : items_.lower_bound(Key{std::string(ns), ""});
    for (; at != items_.end() && (ns.empty() || at->first.ns == ns); ++at) out.push_back(at->second);
    return out;
  }
  std::vector<ObjectPtr> owned_by(std::string_view uid) const override {
    std::vector<ObjectPtr> out;
    if (auto at = by_owner_.find(std::string(uid)); at != by_owner_.end())
      for (const auto& key : at->second)
        if (auto o = get(key)) out.push_back(std::move(o));
    return out;
  }
  bool synced() const override { return synced_; }
  void on_change(std::function<void(const ObjectPtr&, const ObjectPtr&)> fn) override {
    for (const auto& [key, o] : items_) fn(o, nullptr);
    handlers_.push_back(std::move(fn));
  }

  void replace(const std::vector<ObjectPtr>& objects) {
    std::set<Key> there;
    for (const auto& o : objects) {
      auto key = key_of(*o);
      there.insert(key);
      auto old = get(key);
      if (!old || resource_version_of(*old) != resource_version_of(*o)) put(key, o);
    }
    std::vector<Key> gone;
    for (const auto& [key, o] : items_)
      if (!there.contains(key)) gone.push_back(key);
    for (const auto& key : gone) erase(key);
    synced_ = true;
  }
  void put(const Key& key, const ObjectPtr& o) {
    auto& slot = items_[key];
    auto old = slot;
    if (old) index(key, *old, false);
    slot = o;
    index(key, *o, true);
    for (auto& h : handlers_) h(o, old);
  }
  void erase(const Key& key) {
    auto at = items_.find(key);
    if (at == items_.end()) return;
    auto old = at->second;
    index(key, *old, false);
    items_.erase(at);
    for (auto& h : handlers_) h(nullptr, old);
  }

  const Gvr resource;

 private:
  void index(const Key& key, const Object& o, bool add) {
    for (const auto& ref : array_at(o, "metadata.ownerReferences")) {
      const auto* uid = at(ref, "uid");
      if (uid == nullptr || !uid->is_string()) continue;
      std::string u(uid->get_string());
      if (add) {
        by_owner_[u].insert(key);
      } else if (auto i = by_owner_.find(u); i != by_owner_.end()) {
        i->second.erase(key);
        if (i->second.empty()) by_owner_.erase(i);
      }
    }
  }

  std::map<Key, ObjectPtr> items_;
  std::map<std::string, std::set<Key>> by_owner_;
  std::vector<std::function<void(const ObjectPtr&, const ObjectPtr&)>> handlers_;
  bool synced_ = false;
};

class QueueImpl : public Queue {
 public:
  QueueImpl(std::string name, Reconcile reconcile, int workers, LifePtr life)
      : name_(std::move(name)),
        reconcile_(std::move(reconcile)),
        workers_(static_cast<std::size_t>(workers)),
        life_(std::move(life)) {}

  void add(Key key) override {
    if (life_->stopping) return;
    if (active_.contains(key)) {
      again_.insert(std::move(key));
      return;
    }
    if (!waiting_.insert(key).second) return;
    ready_.push_back(std::move(key));
    pump();
  }
  void add_after(Key key, long ms) override {
    if (ms <= 0) return add(std::move(key));
    // One timer a key: the earliest wish counts; a later one is asked for again by the reconcile that it triggers.
    auto due = time::mono_ns() + ms * 1'000'000;
    auto [at, fresh] = timers_.try_emplace(key, due);
    if (!fresh && at->second <= due) return;
    at->second = due;
    task::detach(later(this, life_, std::move(key), ms, due));
  }
  void open() {
    open_ = true;
    pump();
  }

 private:
  static task::Task<void> later(QueueImpl* self, LifePtr life, Key key, long ms, std::int64_t due) {
    co_await task::sleep_ms(ms);
    if (life->stopping) co_return;
    auto at = self->timers_.find(key);
    if (at == self->timers_.end() || at->second != due) co_return;
    self->timers_.erase(at);
    self->add(std::move(key));
  }
  void pump() {
    while (open_ && !life_->stopping && active_.size() < workers_ && !ready_.empty()) {
      Key key = std::move(ready_.front());
      ready_.pop_front();
      waiting_.erase(key);
      active_.insert(key);
      ++life_->running;
      task::detach(work(std::move(key), life_));
    }
  }
  task::Task<void> work(Key key, LifePtr life) {
    auto r = co_await reconcile_(key);
    active_.erase(key);
    if (!life->stopping) {
      bool again = again_.erase(key) > 0;
      if (r) {
        failures_.erase(key);
        if (r->after_ms >= 0) add_after(key, r->after_ms);
      } else {
        int n = failures_[key]++;
        bool quiet = r.error().reason == "Conflict" || r.error().reason == "NotFound";
        (quiet ? log::debug : log::warn)("a controller will try again", {{"controller", name_},
                                                                         {"namespace", key.ns},
                                                                         {"name", key.name},
                                                                         {"error", r.error().message},
                                                                         {"detail", r.error().detail},
                                                                         {"failures", n + 1}});
        add_after(key, back_off(n));
      }
      if (again) add(key);
      pump();
    }
    life->leave();
  }

  std::string name_;
  Reconcile reconcile_;
  std::size_t workers_;
  LifePtr life_;
  bool open_ = false;
  std::deque<Key> ready_;
  std::set<Key> waiting_, active_, again_;
  std::map<Key, int> failures_;
  std::map<Key, std::int64_t> timers_;
};

std::string gvr_text(const Gvr& r) { return r.group + "/" + r.version + "/" + r.plural; }

}  // namespace

struct Manager::Impl {
  task::Loop& loop;
  Client& client;
  LifePtr life = std::make_shared<Life>();
  bool started = false;
  bool opened = false;
  std::map<std::string, std::unique_ptr<InformerImpl>> informers;
  std::vector<std::unique_ptr<QueueImpl>> queues;
  // Events told lately: one that repeats counts up instead of filling the store.
  std::map<std::string, Key> told;
  std::deque<std::string> told_order;

  Impl(task::Loop& l, Client& c) : loop(l), client(c) {}

  void launch(InformerImpl& i) {
    ++life->running;
    task::detach(follow(i, life));
  }
  void open_when_synced() {
    if (opened || !started) return;
    for (auto& [name, i] : informers)
      if (!i->synced()) return;
    opened = true;
    for (auto& q : queues) q->open();
  }

  task::Task<void> follow(InformerImpl& informer, LifePtr l) {
    int failures = 0;
    while (!l->stopping) {
      auto list = co_await client.list(informer.resource);
      if (l->stopping) break;
      if (!list) {
        // A cluster without this CRD: nothing to see until it comes.
        bool missing = list.error().reason == "NotFound";
        if (missing) {
          informer.replace({});
          open_when_synced();
        } else {
          log::warn("an informer cannot list",
                    {{"resource", informer.resource.plural}, {"error", list.error().message}});
        }
        co_await pause(l, missing ? kMissingKindMs : std::min(30'000L, back_off(failures++)));
        continue;
      }
      failures = 0;
      informer.replace(list->items);
      open_when_synced();
      auto revision = list->revision;
      bool relist = false;
      while (!relist && !l->stopping) {
        auto watch = co_await client.watch(informer.resource, "", revision);
        if (!watch) {
          relist = true;
          break;
        }
        bool quiet = true;
        for (;;) {
          auto event = co_await (*watch)->next();
          if (l->stopping) break;
          if (!event) {
            relist = true;
            break;
          }
          if (!*event) break;  // ended: watch again from where we are
          quiet = false;
          const auto& e = **event;
          if (e.object) revision = std::max(revision, resource_version_of(*e.object));
          if (e.type == EventType::bookmark) continue;
          if (e.type == EventType::deleted)
            informer.erase(key_of(*e.object));
          else
            informer.put(key_of(*e.object), e.object);
        }
        // Watches that end as they begin (another Manager of the same client has stopped) must not take the whole loop.
        if (quiet && !relist && !l->stopping) co_await pause(l, 20);
      }
      if (relist) co_await pause(l, 100);
    }
    l->leave();
  }
  // Sleeps in slices, so that a stop need not wait for a long one.
  static task::Task<void> pause(LifePtr l, long ms) {
    while (ms > 0 && !l->stopping) {
      co_await task::sleep_ms(std::min(ms, 100L));
      ms -= 100;
    }
  }

  task::Task<void> record(Object about, std::string type, std::string reason, std::string message,
                          std::string component, LifePtr l) {
    auto ns = std::string(namespace_of(about));
    if (ns.empty()) ns = "default";
    auto name = std::string(name_of(about));
    auto id = fmt::format("{}|{}|{}|{}|{}|{}", kind_of(about), ns, name, uid_of(about), reason, message);
    auto now = now_text();
    if (auto at = told.find(id); at != told.end()) {
      auto old = co_await client.get(gvr::events, at->second);
      if (old) {
        Object next = **old;
        next["count"] = int_at(next, "count", 1) + 1;
        next["lastTimestamp"] = now;
        if (co_await client.update(gvr::events, std::move(next))) {
          l->leave();
          co_return;
        }
      }
    }
    // The real recorder's form of names: the object's, and a number that does not repeat.
    static std::atomic<std::uint64_t> sequence{static_cast<std::uint64_t>(time::now_ms()) << 20};
    Object e = make_object("v1", "Event", ns, fmt::format("{}.{:x}", name, sequence++));
    Object ref;
    for (const char* f : {"apiVersion", "kind"})
      if (const auto* v = at(about, f)) ref[f] = *v;
    ref["name"] = name;
    if (!namespace_of(about).empty()) ref["namespace"] = namespace_of(about);
    ref["uid"] = uid_of(about);
    ref["resourceVersion"] = text_at(about, "metadata.resourceVersion");
    e["involvedObject"] = std::move(ref);
    e["type"] = type;
    e["reason"] = reason;
    e["message"] = message.substr(0, 1024);
    e["source"] = Object{{"component", component}};
    e["reportingComponent"] = component;
    e["reportingInstance"] = "";
    e["firstTimestamp"] = now;
    e["lastTimestamp"] = now;
    e["count"] = 1;
    e["eventTime"] = nullptr;
    auto made = co_await client.create(gvr::events, std::move(e));
    if (made) {
      told[id] = key_of(**made);
      told_order.push_back(id);
      if (told_order.size() > 2000) {
        told.erase(told_order.front());
        told_order.pop_front();
      }
    }
    l->leave();
  }
};

Manager::Manager(task::Loop& loop, Client& client) : impl_(std::make_unique<Impl>(loop, client)) {}
Manager::~Manager() { stop(); }
task::Loop& Manager::loop() const { return impl_->loop; }
Client& Manager::client() const { return impl_->client; }

Informer& Manager::informer(const Gvr& r) {
  auto& slot = impl_->informers[gvr_text(r)];
  if (!slot) {
    slot = std::make_unique<InformerImpl>(r);
    if (impl_->started) impl_->launch(*slot);
  }
  return *slot;
}
Queue& Manager::controller(std::string name, Reconcile reconcile, int workers) {
  impl_->queues.push_back(std::make_unique<QueueImpl>(std::move(name), std::move(reconcile), workers, impl_->life));
  if (impl_->opened) impl_->queues.back()->open();
  return *impl_->queues.back();
}
void Manager::enqueue_changes(Informer& of, Queue& q) {
  of.on_change([&q](const ObjectPtr& now, const ObjectPtr& before) { q.add(key_of(now ? *now : *before)); });
}
void Manager::enqueue_owner(Informer& of, std::string owner_kind, Queue& q) {
  of.on_change([&q, kind = std::move(owner_kind)](const ObjectPtr& now, const ObjectPtr& before) {
    for (const auto& o : {now, before}) {
      if (!o) continue;
      const auto* ref = controller_of(*o);
      if (ref != nullptr && text_at(*ref, "kind") == kind)
        q.add({std::string(namespace_of(*o)), std::string(text_at(*ref, "name"))});
    }
  });
}
void Manager::event(const Object& about, std::string_view type, std::string_view reason, std::string message,
                    std::string_view component) {
  if (impl_->life->stopping) return;
  ++impl_->life->running;
  task::detach(impl_->record(about, std::string(type), std::string(reason), std::move(message), std::string(component),
                             impl_->life));
}

void Manager::start() {
  std::promise<void> done;
  impl_->loop.post([this, &done] {
    impl_->started = true;
    for (auto& [name, i] : impl_->informers) impl_->launch(*i);
    impl_->open_when_synced();
    done.set_value();
  });
  done.get_future().wait();
}

void Manager::stop() {
  if (!impl_->started) return;
  auto ended = impl_->life->ended.get_future();
  impl_->loop.post([this] {
    impl_->life->stopping = true;
    impl_->client.close_watches();
    if (impl_->life->running == 0) impl_->life->ended.set_value();
  });
  // A reconcile that hangs must not keep the program from ending.
  if (ended.wait_for(std::chrono::seconds(5)) != std::future_status::ready)
    log::warn("controllers did not stop in time");
  impl_->started = false;
}

}  // namespace mr::kube
