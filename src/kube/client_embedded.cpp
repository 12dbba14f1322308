// The Client inside this process: the API's rules without a wire.
#include "kube/api.h"

namespace mr::kube {

namespace {

class EmbeddedWatch : public Watch {
 public:
  EmbeddedWatch(StoreWatch watch, std::vector<ObjectPtr> first, std::shared_ptr<std::atomic<bool>> closed)
      : watch_(std::move(watch)), closed_(std::move(closed)) {
    for (auto& o : first) ready_.push_back({EventType::added, std::move(o)});
  }
  task::Task<Result<std::optional<WatchEvent>>> next() override {
    while (ready_.empty()) {
      if (closed_->load()) co_return std::optional<WatchEvent>{};
      auto batch = co_await watch_.next(10'000);
      if (batch.expired) co_return std::unexpected(to_error(expired("too old resource version")));
      for (auto& e : batch.events) ready_.push_back({e.type, std::move(e.object)});
      if (ready_.empty() && batch.stopped) co_return std::optional<WatchEvent>{};
    }
    auto e = std::move(ready_.front());
    ready_.pop_front();
    co_return std::optional<WatchEvent>(std::move(e));
  }

 private:
  StoreWatch watch_;
  std::deque<WatchEvent> ready_;
  std::shared_ptr<std::atomic<bool>> closed_;
};

template <class T>
Result<ObjectPtr> object_of(Answer<T> a) {
  if (!a) return std::unexpected(to_error(a.error()));
  return std::move(a->object);
}

}  // namespace

EmbeddedClient::EmbeddedClient(Api& api, User user, std::string manager)
    : api_(api),
      user_(std::move(user)),
      manager_(std::move(manager)),
      closed_(std::make_shared<std::atomic<bool>>(false)) {}

task::Task<Result<ObjectPtr>> EmbeddedClient::get(Gvr r, Key key) {
  auto t = api_.resolve(r, key.ns, key.name);
  if (!t) co_return std::unexpected(to_error(t.error()));
  auto o = api_.get(*t);
  if (!o) co_return std::unexpected(to_error(o.error()));
  co_return std::move(*o);
}
task::Task<Result<List>> EmbeddedClient::list(Gvr r, std::string ns, ListOptions options) {
  auto t = api_.resolve(r, std::move(ns));
  if (!t) co_return std::unexpected(to_error(t.error()));
  auto l = api_.list(*t, {options.label_selector, options.field_selector, {}, options.limit});
  if (!l) co_return std::unexpected(to_error(l.error()));
  co_return List{std::move(l->items), l->revision};
}
task::Task<Result<ObjectPtr>> EmbeddedClient::create(Gvr r, Object object) {
  auto t = api_.resolve(r, std::string(namespace_of(object)), std::string(name_of(object)));
  if (!t) co_return std::unexpected(to_error(t.error()));
  WriteOptions o{.user = user_, .manager = manager_};
  co_return object_of(co_await api_.create(*t, std::move(object), std::move(o)));
}
task::Task<Result<ObjectPtr>> EmbeddedClient::update(Gvr r, Object object) {
  auto t = api_.resolve(r, std::string(namespace_of(object)), std::string(name_of(object)));
  if (!t) co_return std::unexpected(to_error(t.error()));
  WriteOptions o{.user = user_, .manager = manager_};
  co_return object_of(co_await api_.update(*t, std::move(object), std::move(o)));
}
task::Task<Result<ObjectPtr>> EmbeddedClient::update_status(Gvr r, Object object) {
  auto t = api_.resolve(r, std::string(namespace_of(object)), std::string(name_of(object)));
  if (!t) co_return std::unexpected(to_error(t.error()));
  t->subresource = "status";
  WriteOptions o{.user = user_, .manager = manager_};
  co_return object_of(co_await api_.update(*t, std::move(object), std::move(o)));
}
task::Task<Result<ObjectPtr>> EmbeddedClient::patch(Gvr r, Key key, PatchType type, Value body, std::string subresource,
                                                    std::string manager) {
  auto t = api_.resolve(r, key.ns, key.name);
  if (!t) co_return std::unexpected(to_error(t.error()));
  t->subresource = std::move(subresource);
  WriteOptions o{.user = user_, .manager = manager.empty() ? manager_ : std::move(manager)};
  o.force = true;
  co_return object_of(co_await api_.patch(*t, type, std::move(body), std::move(o)));
}
task::Task<Result<void>> EmbeddedClient::remove(Gvr r, Key key, Propagation p, std::string uid) {
  auto t = api_.resolve(r, key.ns, key.name);
  if (!t) co_return std::unexpected(to_error(t.error()));
  DeleteOptions o;
  o.propagation = p;
  o.uid = std::move(uid);
  auto done = co_await api_.remove(*t, std::move(o));
  if (!done) co_return std::unexpected(to_error(done.error()));
  co_return Result<void>{};
}
task::Task<Result<void>> EmbeddedClient::remove_now(Gvr r, Key key, std::string uid) {
  auto t = api_.resolve(r, key.ns, key.name);
  if (!t) co_return std::unexpected(to_error(t.error()));
  DeleteOptions o;
  o.grace_seconds = 0;
  o.uid = std::move(uid);
  auto done = co_await api_.remove(*t, std::move(o));
  if (!done) co_return std::unexpected(to_error(done.error()));
  co_return Result<void>{};
}
task::Task<Result<std::unique_ptr<Watch>>> EmbeddedClient::watch(Gvr r, std::string ns, std::uint64_t revision,
                                                                 ListOptions options) {
  auto t = api_.resolve(r, ns);
  if (!t) co_return std::unexpected(to_error(t.error()));
  auto selection = parse_selection(*t->kind, options.label_selector, options.field_selector);
  if (!selection) co_return std::unexpected(to_error(selection.error()));
  std::vector<ObjectPtr> first;
  if (revision == 0) {
    auto l = api_.list(*t, {options.label_selector, options.field_selector, {}, 0});
    if (!l) co_return std::unexpected(to_error(l.error()));
    revision = l->revision;
    first = std::move(l->items);
  }
  StoreWatch w(api_.store(), t->kind, t->version, std::move(ns), std::move(*selection), revision);
  std::unique_ptr<Watch> made = std::make_unique<EmbeddedWatch>(std::move(w), std::move(first), closed_);
  co_return made;
}
void EmbeddedClient::close_watches() {
  closed_->store(true);
  api_.store().wake_watches();
}

}  // namespace mr::kube
