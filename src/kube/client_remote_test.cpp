// The two Clients are one: a scenario that both pass, against this program's own API server in this process. The
// controllers' kit over the remote one. Where MILLRACE_TEST_KUBECONFIG names a server, the scenario also
// meets that one.
#include "kube/client_remote.h"

#include <fstream>

#include "await.h"
#include "cli/client_config.h"
#include "crypto/pki.h"
#include "http/server.h"
#include "json/parse.h"
#include "kube/bootstrap.h"
#include "kube/kit.h"
#include "kube/server.h"
#include "task/event.h"
#include "temp_dir.h"

namespace mr::kube {
namespace {

Object parsed(std::string_view text) { return json::parse(text)->as_object(); }

class KubeRemoteTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto d = sql::Database::open_sqlite(dir_.file("kube.db"));
    ASSERT_TRUE(d);
    db_ = std::move(*d);
    // Opened twice: what the first one wrote is before the second one's history.
    store_ = std::move(*Store::open(*db_));
    ASSERT_TRUE(store_->seed_blocking(bootstrap_objects(kinds_, {})));
    store_->stop();
    store_ = std::move(*Store::open(*db_));
    api_.emplace(*store_, kinds_, Hooks{});
    authorizer_.emplace(*store_);
    tokens_.emplace(*store_, *crypto::JwtKey::generate(), "https://kubernetes.default.svc.cluster.local");
    tokens_->add_static("sesame", {.name = "admin", .uid = {}, .groups = {"system:masters"}});
    server_.emplace(ServerDeps{.api = &*api_,
                               .authorizer = &*authorizer_,
                               .tokens = &*tokens_,
                               .pods = nullptr,
                               .program_version = "0",
                               .address = "localhost:0"});
    ca_ = *crypto::make_authority("ca");
    auto own = *crypto::issue_certificate(
        ca_, {.common_name = "apiserver", .organizations = {}, .dns_names = {"localhost"}, .addresses = {"127.0.0.1"}});
    auto tls = http::TlsContext::make({own.certificate_pem, own.key_pem, ca_.certificate_pem});
    ASSERT_TRUE(tls);
    http_.emplace(server_loops_, http::ServerOptions{.name = "t", .tls = *tls},
                  [this](http::Request& r) { return server_->handle(r); });
    ASSERT_TRUE(http_->start());
  }
  void TearDown() override {
    store_->close_watches();
    http_->stop(0);
    loops_.stop();
    server_loops_.stop();
    store_->stop();
    db_->stop();
  }

  template <class T>
  T wait(task::Task<T> t) {
    return testing::await_on(loops_, std::move(t));
  }
  RemoteAccess access() {
    auto me = *crypto::issue_certificate(ca_, {.common_name = "admin", .organizations = {"system:masters"}});
    RemoteAccess a;
    a.server = fmt::format("https://127.0.0.1:{}", http_->port());
    a.tls.ca_pem = ca_.certificate_pem;
    a.tls.certificate_pem = me.certificate_pem;
    a.tls.key_pem = me.key_pem;
    return a;
  }
  static std::unique_ptr<RemoteClient> client(RemoteAccess a) {
    auto c = RemoteClient::make(std::move(a), "test");
    if (!c) std::abort();
    return std::move(*c);
  }
  template <class T>
  static std::string reason(const Result<T>& r) {
    return r ? "" : r.error().reason;
  }
  // The next event that is no bookmark, as "added NAME", or how the watch ended.
  std::string next(Watch& w) {
    for (;;) {
      auto e = wait(w.next());
      if (!e) return e.error().reason;
      if (!*e) return "ended";
      if ((*e)->type == EventType::bookmark) continue;
      constexpr std::string_view kTypes[] = {"added", "modified", "deleted"};
      const auto& o = *(*e)->object;
      EXPECT_EQ(kind_of(o), "ConfigMap");
      EXPECT_EQ(api_version_of(o), "v1");
      return fmt::format("{} {}", kTypes[static_cast<int>((*e)->type)], name_of(o));
    }
  }

  void scenario(Client& c) {
    const auto r = gvr::configmaps;
    const std::string ns = "default";
    const ListOptions ours{.label_selector = "scenario=yes", .field_selector = {}, .limit = 0};
    auto map = [&](std::string_view name) {
      auto o = make_object("v1", "ConfigMap", ns, name);
      metadata(o)["labels"] = Object{{"scenario", "yes"}};
      o["data"] = Object{{"a", "1"}};
      return o;
    };
    // Left of a run before, at a server that is not ours.
    for (const char* n : {"one", "two", "three"}) (void)wait(c.remove(r, {ns, n}));
    (void)wait(c.remove(gvr::deployments, {ns, "web"}));

    auto one = wait(c.create(r, map("one")));
    ASSERT_TRUE(one) << one.error().message;
    EXPECT_FALSE(uid_of(**one).empty());
    EXPECT_EQ(reason(wait(c.create(r, map("one")))), "AlreadyExists");
    EXPECT_EQ(reason(wait(c.create(r, map("One!")))), "Invalid");
    EXPECT_EQ(reason(wait(c.get(r, {ns, "none"}))), "NotFound");
    EXPECT_EQ(reason(wait(c.list({"nobody.example.com", "v1", "things"}))), "NotFound");
    EXPECT_EQ(text_at(**wait(c.get(r, {ns, "one"})), "data.a"), "1");
    ASSERT_TRUE(wait(c.create(r, map("two"))));

    auto all = wait(c.list(r, ns, ours));
    ASSERT_TRUE(all);
    ASSERT_EQ(all->items.size(), 2U);
    EXPECT_EQ(name_of(*all->items[0]), "one");
    EXPECT_EQ(kind_of(*all->items[0]), "ConfigMap");
    EXPECT_EQ(api_version_of(*all->items[0]), "v1");
    EXPECT_GT(all->revision, 0U);
    EXPECT_EQ(wait(c.list(r, "", ours))->items.size(), 2U);
    EXPECT_EQ(wait(c.list(r, ns, {.label_selector = "scenario=yes", .field_selector = {}, .limit = 1}))->items.size(),
              1U);
    EXPECT_EQ(
        wait(c.list(r, ns, {.label_selector = "scenario=yes", .field_selector = "metadata.name=two"}))->items.size(),
        1U);

    // A watch from there, and one that begins with what there is.
    auto after = wait(c.watch(r, ns, all->revision, ours));
    auto whole = wait(c.watch(r, ns, 0, ours));
    ASSERT_TRUE(after && whole);
    EXPECT_EQ(next(**whole), "added one");
    EXPECT_EQ(next(**whole), "added two");

    Object changed = **one;
    changed["data"].as_object()["a"] = "2";
    ASSERT_TRUE(wait(c.update(r, changed)));
    EXPECT_EQ(reason(wait(c.update(r, changed))), "Conflict");  // its revision is old by now
    metadata(changed).erase("resourceVersion");
    changed["data"].as_object()["a"] = "3";
    EXPECT_TRUE(wait(c.update(r, changed)));  // unconditional
    EXPECT_EQ(next(**after), "modified one");
    EXPECT_EQ(next(**whole), "modified one");
    EXPECT_EQ(next(**after), "modified one");

    auto data = [](const Result<ObjectPtr>& o) {
      return o ? json::serialize(object_at(**o, "data")) : o.error().message;
    };
    EXPECT_EQ(data(wait(c.patch(r, {ns, "one"}, PatchType::merge, parsed(R"({"data":{"a":null,"b":"1"}})")))),
              R"({"b":"1"})");
    EXPECT_EQ(data(wait(c.patch(r, {ns, "one"}, PatchType::json,
                                *json::parse(R"([{"op":"replace","path":"/data/b","value":"2"}])")))),
              R"({"b":"2"})");
    EXPECT_EQ(data(wait(c.patch(r, {ns, "one"}, PatchType::strategic, parsed(R"({"data":{"b":"3"}})")))),
              R"({"b":"3"})");
    EXPECT_EQ(reason(wait(c.patch(r, {ns, "none"}, PatchType::merge, Object{}))), "NotFound");
    auto applied = map("three");
    auto three = wait(c.patch(r, {ns, "three"}, PatchType::apply, applied, {}, "boss"));
    ASSERT_TRUE(three) << three.error().message;
    EXPECT_EQ(text_at(**three, "metadata.managedFields.0.manager"), "boss");

    // The status is written by itself, and only it.
    auto web = make_object("apps/v1", "Deployment", ns, "web");
    web["spec"] = parsed(R"({"replicas":0,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":
        {"app":"web"}},"spec":{"containers":[{"name":"c","image":"python:3.12"}]}}})");
    auto made = wait(c.create(gvr::deployments, web));
    ASSERT_TRUE(made) << made.error().message;
    Object told = **made;
    told["status"] = Object{{"observedGeneration", 1}};
    ensure(told, "spec")["replicas"] = 5;
    auto shown = wait(c.update_status(gvr::deployments, told));
    ASSERT_TRUE(shown) << shown.error().message;
    EXPECT_EQ(int_at(**shown, "status.observedGeneration"), 1);
    EXPECT_EQ(int_at(**shown, "spec.replicas"), 0);
    EXPECT_EQ(int_at(**wait(c.patch(gvr::deployments, {ns, "web"}, PatchType::merge,
                                    parsed(R"({"status":{"observedGeneration":2}})"), "status")),
                     "status.observedGeneration"),
              2);
    EXPECT_TRUE(wait(c.remove(gvr::deployments, {ns, "web"})));

    EXPECT_EQ(reason(wait(c.remove(r, {ns, "one"}, Propagation::background, "another"))), "Conflict");
    EXPECT_TRUE(wait(c.remove(r, {ns, "one"}, Propagation::background, std::string(uid_of(**one)))));
    EXPECT_EQ(reason(wait(c.remove(r, {ns, "one"}))), "NotFound");
    EXPECT_TRUE(wait(c.remove_now(r, {ns, "two"}, {})));
    EXPECT_TRUE(wait(c.remove_now(r, {ns, "three"}, std::string(uid_of(**three)))));
    for (const char* e :
         {"modified one", "modified one", "modified one", "added three", "deleted one", "deleted two", "deleted three"})
      EXPECT_EQ(next(**after), e);

    // A revision that is no longer known: at the start, or as the first thing said.
    auto old = wait(c.watch(r, ns, 1));
    EXPECT_EQ(old ? next(**old) : reason(old), "Expired");

    // The end of all watches, also of those that are waited on.
    auto last = loops_.size();
    ASSERT_EQ(last, 1U);
    std::promise<std::string> ended;
    loops_.at(0).post([&] {
      task::detach([](Watch& w, std::promise<std::string>& p) -> task::Task<void> {
        for (;;) {
          auto e = co_await w.next();
          if (e && *e) continue;
          p.set_value(e ? "ended" : e.error().message);
          co_return;
        }
      }(**whole, ended));
    });
    loops_.at(0).post([&] { c.close_watches(); });
    EXPECT_EQ(ended.get_future().get(), "ended");
    auto late = wait(c.watch(r, ns, all->revision));
    ASSERT_TRUE(late);
    // (The embedded one first gives what has happened since.)
    std::string e;
    do e = next(**late);
    while (e.starts_with("added") || e.starts_with("modified") || e.starts_with("deleted"));
    EXPECT_EQ(e, "ended");
    after->reset();
    whole->reset();
  }

  testing::TempDir dir_;
  std::unique_ptr<sql::Database> db_;
  std::unique_ptr<Store> store_;
  Kinds kinds_;
  crypto::KeyPair ca_;
  std::optional<Api> api_;
  std::optional<Authorizer> authorizer_;
  std::optional<Tokens> tokens_;
  std::optional<Server> server_;
  task::Loops loops_{1}, server_loops_{1};
  std::optional<http::Server> http_;
};

TEST_F(KubeRemoteTest, TheEmbeddedClientPassesTheScenario) {
  EmbeddedClient c(*api_, system_user(), "test");
  scenario(c);
}

TEST_F(KubeRemoteTest, TheRemoteClientPassesTheScenario) { scenario(*client(access())); }

// Only where MILLRACE_TEST_KUBECONFIG names a server is there such a test at all: elsewhere it would always be skipped.
class AnotherServerTest : public KubeRemoteTest {
  void TestBody() override {
    auto a = cli::read_access({std::getenv("MILLRACE_TEST_KUBECONFIG")});
    ASSERT_TRUE(a) << a.error().message;
    scenario(*client({.server = a->server, .token = a->token, .token_file = {}, .tls = a->tls}));
  }
};

[[maybe_unused]] const auto* const another_server_test =
    std::getenv("MILLRACE_TEST_KUBECONFIG") == nullptr
        ? nullptr
        : ::testing::RegisterTest("KubeRemoteTest", "AnotherServerPassesTheScenario", nullptr, nullptr, __FILE__,
                                  __LINE__, []() -> KubeRemoteTest* { return new AnotherServerTest; });

TEST_F(KubeRemoteTest, ListsInPages) {
  std::vector<std::pair<std::string, Object>> many;
  for (int i = 0; i < 1234; ++i) {
    auto o = make_object("v1", "ConfigMap", "default", fmt::format("m-{:04}", i));
    metadata(o)["labels"] = Object{{"many", "yes"}};
    many.emplace_back("configmaps", std::move(o));
  }
  ASSERT_TRUE(store_->seed_blocking(std::move(many)));
  auto c = client(access());
  auto all =
      wait(c->list(gvr::configmaps, "default", {.label_selector = "many=yes", .field_selector = {}, .limit = 0}));
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->items.size(), 1234U);
  EXPECT_EQ(name_of(*all->items.back()), "m-1233");
  auto some =
      wait(c->list(gvr::configmaps, "default", {.label_selector = "many=yes", .field_selector = {}, .limit = 777}));
  EXPECT_EQ(some->items.size(), 777U);
}

TEST_F(KubeRemoteTest, ATokenFileIsReadAgain) {
  auto file = dir_.file("token");
  auto put = [&](const char* text) { std::ofstream(file) << text; };
  put("wrong\n");
  RemoteAccess a;
  a.server = fmt::format("https://localhost:{}", http_->port());  // a name: it is looked up
  a.tls.ca_pem = ca_.certificate_pem;
  a.token_file = file;
  auto c = client(a);
  EXPECT_EQ(reason(wait(c->get(gvr::namespaces, {"", "default"}))), "Unauthorized");
  put("sesame\n");
  auto got = wait(c->get(gvr::namespaces, {"", "default"}));
  EXPECT_TRUE(got) << got.error().message;
}

TEST_F(KubeRemoteTest, BelievesOnlyItsAuthorityAndSaysWhatIsWrong) {
  auto a = access();
  a.tls.ca_pem = crypto::make_authority("other")->certificate_pem;
  auto r = wait(client(a)->get(gvr::namespaces, {"", "default"}));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::unavailable);
  EXPECT_NE(r.error().message.find("is its certificate trusted here?"), std::string::npos) << r.error().message;

  a = access();
  a.server = "https://127.0.0.1:1";
  r = wait(client(a)->get(gvr::namespaces, {"", "default"}));
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "ServiceUnavailable");
  EXPECT_NE(r.error().message.find("refused"), std::string::npos) << r.error().message;

  for (const char* server : {"", "127.0.0.1:6443", "ftp://x", "https://", "https://x:0", "https://u:p@x"}) {
    a.server = server;
    EXPECT_FALSE(RemoteClient::make(a, "test")) << server;
  }
}

TEST_F(KubeRemoteTest, WhatIsNoKubernetesApiIsAnError) {
  auto answer = std::make_shared<std::pair<int, std::string>>(200, "hello");
  http::Server other(server_loops_, {.name = "o"}, [answer](http::Request&) -> task::Task<http::Response> {
    co_return http::Response::text(answer->first, answer->second);
  });
  ASSERT_TRUE(other.start());
  RemoteAccess a;
  a.server = fmt::format("http://127.0.0.1:{}/base", other.port());
  auto c = client(a);
  EXPECT_EQ(reason(wait(c->get(gvr::pods, {"a", "b"}))), "ServiceUnavailable");
  *answer = {404, "<html>"};
  EXPECT_EQ(reason(wait(c->get(gvr::pods, {"a", "b"}))), "NotFound");
  *answer = {502, "<html>"};
  EXPECT_FALSE(wait(c->list(gvr::pods)));
  auto first = [&](std::string text) {
    *answer = {200, std::move(text)};
    auto w = wait(c->watch(gvr::pods, "a", 7));
    return w ? next(**w) : reason(w);
  };
  EXPECT_EQ(first("hello\n"), "ServiceUnavailable");
  EXPECT_EQ(first(R"({"type":"ADDED"})"
                  "\n"),
            "ServiceUnavailable");
  EXPECT_EQ(first(R"({"type":"ODD","object":{}})"
                  "\n"),
            "ServiceUnavailable");
  EXPECT_EQ(first(R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Gone"}})"
                  "\n"),
            "Expired");
  EXPECT_EQ(first(std::string(17 << 20, 'x')), "ServiceUnavailable");
  EXPECT_EQ(first(""), "ServiceUnavailable");  // ended at once: not to be tried again without a pause
  other.stop(0);
}

TEST_F(KubeRemoteTest, TheControllersKitWorksOverIt) {
  auto c = client(access());
  std::promise<void> copied, gone;
  bool told = false;
  {
    Manager m(loops_.at(0), *c);
    auto& maps = m.informer(gvr::configmaps);
    auto& q = m.controller("copy", [&](Key key) -> task::Task<Result<Again>> {
      if (key.name != "source") co_return Again{};
      auto source = maps.get(key);
      if (!source) {
        if (told) gone.set_value();
        co_return Again{};
      }
      if (maps.get({key.ns, "copy"}) || told) co_return Again{};
      auto o = make_object("v1", "ConfigMap", key.ns, "copy");
      metadata(o)["ownerReferences"] = Array{owner_reference(*source)};
      MR_CO_TRY(auto made, co_await m.client().create(gvr::configmaps, std::move(o)));
      co_return Again{};
    });
    m.enqueue_changes(maps, q);
    maps.on_change([&](const ObjectPtr& now, const ObjectPtr&) {
      if (now && name_of(*now) == "copy" && controller_of(*now) != nullptr && !told) {
        told = true;
        copied.set_value();
      }
    });
    m.start();
    ASSERT_TRUE(wait(c->create(gvr::configmaps, make_object("v1", "ConfigMap", "default", "source"))));
    copied.get_future().wait();
    ASSERT_TRUE(wait(c->remove(gvr::configmaps, {"default", "source"})));
    gone.get_future().wait();
    m.stop();
  }
}

TEST_F(KubeRemoteTest, AnInformerFindsItsServerAgain) {
  auto c = client(access());
  EmbeddedClient here(*api_, system_user(), "test");
  auto map = [](std::string_view name) { return make_object("v1", "ConfigMap", "default", name); };
  std::promise<void> before, after;
  Manager m(loops_.at(0), *c);
  m.informer(gvr::configmaps).on_change([&](const ObjectPtr& now, const ObjectPtr& old) {
    if (now && !old && name_of(*now) == "before") before.set_value();
    if (now && !old && name_of(*now) == "after") after.set_value();
  });
  m.start();
  ASSERT_TRUE(wait(here.create(gvr::configmaps, map("before"))));
  before.get_future().wait();
  auto port = http_->port();
  http_->stop(0);
  ASSERT_TRUE(wait(here.create(gvr::configmaps, map("after"))));
  http::ServerOptions again{.name = "t", .port = port, .tls = nullptr};
  auto own = *crypto::issue_certificate(
      ca_, {.common_name = "apiserver", .organizations = {}, .dns_names = {}, .addresses = {"127.0.0.1"}});
  again.tls = *http::TlsContext::make({own.certificate_pem, own.key_pem, ca_.certificate_pem});
  http_.emplace(server_loops_, again, [this](http::Request& r) { return server_->handle(r); });
  ASSERT_TRUE(http_->start());
  after.get_future().wait();
  m.stop();
}

TEST_F(KubeRemoteTest, APodFindsItsCluster) {
  auto put = [&](const char* name, std::string_view text) { std::ofstream(dir_.file(name)) << text; };
  put("ca.crt", ca_.certificate_pem);
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  EXPECT_FALSE(in_cluster_access(dir_.path()));
  ::setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1", 1);
  ::setenv("KUBERNETES_SERVICE_PORT", std::to_string(http_->port()).c_str(), 1);
  EXPECT_FALSE(in_cluster_access(dir_.path()));  // no token
  put("token", "sesame");
  auto a = in_cluster_access(dir_.path());
  ASSERT_TRUE(a) << a.error().message;
  EXPECT_TRUE(wait(client(*a)->get(gvr::namespaces, {"", "default"})));
  ::unsetenv("KUBERNETES_SERVICE_HOST");
  ::unsetenv("KUBERNETES_SERVICE_PORT");
}

}  // namespace
}  // namespace mr::kube
