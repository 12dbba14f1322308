// The node against an API in memory: real processes under bubblewrap, no server. What needs kubectl is tested in
// tests/node.
#include "node/node.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <fstream>
#include <future>

#include "crypto/random.h"
#include "http/message.h"
#include "json/parse.h"
#include "node/sandbox.h"
#include "task/event.h"

namespace mr::node {
namespace {

using kube::Key;
using kube::Object;
using kube::ObjectPtr;

void merge(Object& into, const Object& patch) {
  for (const auto& [k, v] : patch) {
    if (v.is_null()) {
      into.erase(k);
    } else if (v.is_object()) {
      auto& slot = into[k];
      if (!slot.is_object()) slot = Object{};
      merge(slot.get_object(), v.get_object());
    } else {
      into[k] = v;
    }
  }
}

// As much of an API as the node uses; everything on one loop.
class MemoryApi final : public kube::Client {
 public:
  task::Task<Result<ObjectPtr>> get(kube::Gvr r, Key key) override { co_return find(r, key); }
  task::Task<Result<kube::List>> list(kube::Gvr r, std::string, kube::ListOptions) override {
    kube::List l;
    for (const auto& [key, o] : objects_[r.plural]) l.items.push_back(o);
    l.revision = revision_;
    co_return l;
  }
  task::Task<Result<ObjectPtr>> create(kube::Gvr r, Object object) override {
    auto key = kube::key_of(object);
    if (objects_[r.plural].contains(key)) co_return fail(Code::already_exists, "there", "AlreadyExists");
    kube::metadata(object)["uid"] = crypto::uuid4();
    co_return put(r, key, std::move(object), kube::EventType::added);
  }
  task::Task<Result<ObjectPtr>> update(kube::Gvr r, Object object) override {
    auto key = kube::key_of(object);
    co_return put(r, key, std::move(object), kube::EventType::modified);
  }
  task::Task<Result<ObjectPtr>> update_status(kube::Gvr r, Object object) override {
    co_return co_await update(std::move(r), std::move(object));
  }
  task::Task<Result<ObjectPtr>> patch(kube::Gvr r, Key key, kube::PatchType, kube::Value body, std::string,
                                      std::string) override {
    auto there = find(r, key);
    if (!there) co_return there;
    Object next = **there;
    merge(next, body.get_object());
    co_return put(r, key, std::move(next), kube::EventType::modified);
  }
  task::Task<Result<void>> remove(kube::Gvr r, Key key, kube::Propagation, std::string) override {
    auto there = find(r, key);
    if (!there) co_return std::unexpected(there.error());
    objects_[r.plural].erase(key);
    ++revision_;
    tell(r.plural, {kube::EventType::deleted, *there});
    co_return Result<void>{};
  }
  task::Task<Result<std::unique_ptr<kube::Watch>>> watch(kube::Gvr r, std::string, std::uint64_t revision,
                                                         kube::ListOptions) override {
    auto feed = std::make_shared<Feed>();
    if (revision == 0)
      for (const auto& [key, o] : objects_[r.plural]) feed->queue.push_back({kube::EventType::added, o});
    feeds_[r.plural].push_back(feed);
    std::unique_ptr<kube::Watch> w = std::make_unique<MemoryWatch>(feed);
    co_return w;
  }
  void close_watches() override {
    for (auto& [plural, feeds] : feeds_)
      for (auto& f : feeds) {
        f->closed = true;
        f->event.set();
      }
  }

 private:
  struct Feed {
    std::deque<kube::WatchEvent> queue;
    task::Event event;
    bool closed = false;
  };
  class MemoryWatch final : public kube::Watch {
   public:
    explicit MemoryWatch(std::shared_ptr<Feed> f) : f_(std::move(f)) {}
    task::Task<Result<std::optional<kube::WatchEvent>>> next() override {
      while (f_->queue.empty()) {
        if (f_->closed) co_return std::optional<kube::WatchEvent>{};
        co_await f_->event.wait();
      }
      auto e = std::move(f_->queue.front());
      f_->queue.pop_front();
      co_return std::optional<kube::WatchEvent>(std::move(e));
    }

   private:
    std::shared_ptr<Feed> f_;
  };
  Result<ObjectPtr> find(const kube::Gvr& r, const Key& key) {
    auto it = objects_[r.plural].find(key);
    if (it == objects_[r.plural].end()) return fail(Code::not_found, key.name + " not found", "NotFound");
    return it->second;
  }
  ObjectPtr put(const kube::Gvr& r, const Key& key, Object o, kube::EventType type) {
    kube::metadata(o)["resourceVersion"] = std::to_string(++revision_);
    auto p = std::make_shared<const Object>(std::move(o));
    objects_[r.plural][key] = p;
    tell(r.plural, {type, p});
    return p;
  }
  void tell(const std::string& plural, const kube::WatchEvent& e) {
    for (auto& f : feeds_[plural]) {
      f->queue.push_back(e);
      f->event.set();
    }
  }
  std::map<std::string, std::map<Key, ObjectPtr>> objects_;
  std::map<std::string, std::vector<std::shared_ptr<Feed>>> feeds_;
  std::uint64_t revision_ = 1;
};

class NodeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto bubblewrap = find_bubblewrap();
    ASSERT_TRUE(bubblewrap) << bubblewrap.error().message;
    folder_ = std::filesystem::temp_directory_path() / ("mr-node-" + crypto::random_hex(6));
    begin();
  }
  void TearDown() override {
    end();
    // What the node takes away itself may go at the same time.
    for (std::error_code ec; std::filesystem::exists(folder_, ec);) std::filesystem::remove_all(folder_, ec);
  }
  void begin() {
    loops_ = std::make_unique<task::Loops>(1);
    manager_ = std::make_unique<kube::Manager>(loops_->at(0), api_);
    NodeOptions o;
    o.data_folder = folder_;
    node_ = std::make_unique<Node>(loops_->at(0), *manager_, std::move(o));
    node_->start();
    manager_->start();
  }
  void end() {
    node_->stop();
    manager_->stop();
    node_.reset();
    api_.close_watches();
    loops_->stop();
    manager_.reset();
    loops_.reset();
  }
  // Runs `make()` on the loop and waits for what it gives.
  template <class F>
  auto on_loop(F make) {
    using T = typename decltype(make())::promise_type;
    using R = decltype(std::declval<T>().value)::value_type;
    std::promise<R> done;
    loops_->at(0).post([&] {
      task::detach([](F& m, std::promise<R>& d) -> task::Task<void> { d.set_value(co_await m()); }(make, done));
    });
    return done.get_future().get();
  }
  ObjectPtr create(std::string_view name, std::string_view spec) {
    Object pod = kube::make_object("v1", "Pod", "default", name);
    pod["spec"] = json::parse(spec)->get_object();
    pod["spec"].get_object()["nodeName"] = "millrace";
    return *on_loop([&] { return api_.create(kube::gvr::pods, pod); });
  }
  ObjectPtr get(std::string_view name) {
    auto r = on_loop([&] { return api_.get(kube::gvr::pods, {"default", std::string(name)}); });
    return r ? *r : nullptr;
  }
  // The pod once `test` holds; null after a long time.
  ObjectPtr until(std::string_view name, const std::function<bool(const ObjectPtr&)>& test) {
    for (int i = 0; i < 3000; ++i) {
      auto pod = get(name);
      if (test(pod)) return pod;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return nullptr;
  }
  ObjectPtr phase(std::string_view name, std::string_view wanted) {
    return until(name, [&](const ObjectPtr& p) { return p && kube::text_at(*p, "status.phase") == wanted; });
  }
  std::string logs(const ObjectPtr& pod, kube::LogOptions options = {}) {
    return on_loop([&]() -> task::Task<std::string> {
      auto r = co_await node_->logs(pod, options);
      if (!r) co_return "error: " + r.error().message;
      if (auto* text = std::get_if<std::string>(&r->body)) co_return *text;
      std::string out;
      for (;;) {
        auto piece = co_await std::get<http::StreamBody>(r->body)();
        if (!piece || piece->empty()) co_return out;
        out += *piece;
      }
    });
  }

  MemoryApi api_;
  std::string folder_;
  std::unique_ptr<task::Loops> loops_;
  std::unique_ptr<kube::Manager> manager_;
  std::unique_ptr<Node> node_;
};

TEST_F(NodeTest, APythonPodRunsToItsEnd) {
  create("p", R"json({"restartPolicy":"Never","containers":[{"name":"c","image":"python:3.11",
    "command":["python","-c","print('hello')"]}]})json");
  auto pod = phase("p", "Succeeded");
  ASSERT_TRUE(pod) << json::serialize(*get("p"));
  EXPECT_EQ(logs(pod), "hello\n");
  EXPECT_EQ(kube::int_at(*pod, "status.containerStatuses.0.state.terminated.exitCode", -1), 0);
  EXPECT_EQ(kube::text_at(*pod, "status.containerStatuses.0.state.terminated.reason"), "Completed");
}

TEST_F(NodeTest, ACommandThatIsNotThereIsAStartError) {
  create("p", R"({"restartPolicy":"Never","containers":[{"name":"c","image":"busybox","command":["/no/such"]}]})");
  auto pod = phase("p", "Failed");
  ASSERT_TRUE(pod) << json::serialize(*get("p"));
  EXPECT_EQ(kube::text_at(*pod, "status.containerStatuses.0.state.terminated.reason"), "StartError");
  EXPECT_EQ(kube::int_at(*pod, "status.containerStatuses.0.state.terminated.exitCode"), 128);
}

TEST_F(NodeTest, DeletionStopsTheProcessAndRemovesTheObject) {
  auto made = create("p", R"({"containers":[{"name":"c","image":"busybox","command":["sleep","1000"]}]})");
  auto pod = phase("p", "Running");
  ASSERT_TRUE(pod) << json::serialize(*get("p"));
  EXPECT_EQ(kube::text_at(*kube::condition(*pod, "Ready"), "status"), "True");
  Object metadata{{"deletionTimestamp", kube::now_text()}, {"deletionGracePeriodSeconds", 30}};
  (void)on_loop([&] {
    return api_.patch(kube::gvr::pods, {"default", "p"}, kube::PatchType::merge, Object{{"metadata", metadata}}, {},
                      {});
  });
  EXPECT_FALSE(until("p", [](const ObjectPtr& p) { return !p; }));
  EXPECT_FALSE(get("p"));
}

TEST_F(NodeTest, AfterARestartAlwaysRunsAgainAndNeverFails) {
  create("always", R"({"containers":[{"name":"c","image":"busybox","command":["sleep","1000"]}]})");
  create("never",
         R"({"restartPolicy":"Never","containers":[{"name":"c","image":"busybox","command":["sleep","1000"]}]})");
  ASSERT_TRUE(phase("always", "Running"));
  ASSERT_TRUE(phase("never", "Running"));
  end();
  begin();
  auto pod = phase("never", "Failed");
  ASSERT_TRUE(pod) << json::serialize(*get("never"));
  EXPECT_EQ(kube::int_at(*pod, "status.containerStatuses.0.state.terminated.exitCode"), 255);
  pod = until("always", [](const ObjectPtr& p) {
    return kube::int_at(*p, "status.containerStatuses.0.restartCount") == 1 &&
           kube::at(*p, "status.containerStatuses.0.state.running") != nullptr;
  });
  ASSERT_TRUE(pod) << json::serialize(*get("always"));
  EXPECT_EQ(kube::text_at(*pod, "status.containerStatuses.0.lastState.terminated.reason"), "Unknown");
}

TEST_F(NodeTest, LogsAreFollowedToTheEnd) {
  auto pod = create("p", R"({"restartPolicy":"Never","containers":[{"name":"c","image":"busybox",
    "command":["sh","-c","for i in 1 2 3; do echo $i; sleep 0.1; done"]}]})");
  ASSERT_TRUE(until("p", [](const ObjectPtr& p) { return kube::text_at(*p, "status.phase", "Pending") != "Pending"; }));
  kube::LogOptions o;
  o.follow = true;
  EXPECT_EQ(logs(pod, o), "1\n2\n3\n");
}

}  // namespace
}  // namespace mr::node
