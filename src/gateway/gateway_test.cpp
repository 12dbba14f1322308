#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/fd.h"
#include "http/byte_stream.h"
#include "http/server.h"
#include "json/parse.h"

namespace mr::gateway {
namespace {

kube::ObjectPtr object(std::string_view text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v.has_value()) << text;
  return std::make_shared<const kube::Object>(v->as_object());
}

// Sends a request on a connection of its own and reads all that comes until the server closes or `enough` has come.
std::string ask(std::uint16_t port, std::string_view request, std::size_t enough = SIZE_MAX) {
  Fd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  ::inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return "refused";
  for (auto rest = request; !rest.empty();) {
    ssize_t n = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  std::string got;
  char buffer[65536];
  for (ssize_t n; got.size() < enough && (n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
    got.append(buffer, static_cast<std::size_t>(n));
  return got;
}
std::string get(std::uint16_t port, std::string_view target, std::string_view host = "localhost",
                std::string_view more = "") {
  return ask(port, fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n", target, host, more));
}
int status(const std::string& answer) { return answer.size() > 12 ? std::atoi(answer.c_str() + 9) : 0; }
std::string body(const std::string& answer) {
  auto at = answer.find("\r\n\r\n");
  return at == std::string::npos ? "" : answer.substr(at + 4);
}
std::string header(const std::string& answer, std::string_view name) {
  auto at = answer.find(fmt::format("\r\n{}: ", name));
  if (at == std::string::npos) return "";
  at += name.size() + 4;
  return answer.substr(at, answer.find("\r\n", at) - at);
}

// An upstream that says what it was asked.
struct Upstream {
  Upstream(task::Loops& loops, std::string name)
      : server(loops, {.name = name}, [this, name](http::Request& rq) -> task::Task<http::Response> {
          ++requests;
          if (rq.path == "/stall") co_await task::sleep_ms(20'000);
          if (rq.path == "/busy" && requests == 1) co_return http::Response::text(503, "busy");
          if (rq.path == "/upgrade") {
            http::Response r;
            r.status = 101;
            r.headers.add("Connection", "Upgrade");
            r.headers.add("Upgrade", std::string(rq.headers.get("Upgrade")));
            r.upgrade = [](http::ByteStream& io) -> task::Task<void> {
              auto piece = co_await io.read();
              if (piece) (void)co_await io.write("echo " + std::string(*piece));
            };
            co_return r;
          }
          if (rq.path == "/none") co_return http::Response::text(204, "");
          if (rq.path == "/big") {
            http::Response r;
            r.headers.add("Content-Type", "application/octet-stream");
            r.body = http::StreamBody([left = 300]() mutable -> task::Task<Result<std::string>> {
              if (left-- == 0) co_return std::string();
              co_return std::string(10'000, 'z');
            });
            co_return r;
          }
          auto all = co_await http::read_all(rq, 64 << 20);
          if (all) {
            std::lock_guard guard(mutex);
            host = rq.headers.get("Host");
            body_size = all->size();
            seen = requests.load();
          }
          std::string lines = fmt::format("{} {} {}\n", name, rq.method_text, rq.target);
          for (const auto& [n, v] : rq.headers.items()) lines += fmt::format("{}: {}\n", n, v);
          lines += fmt::format("body {}\n", all ? all->size() : 0);
          auto r = http::Response::text(200, lines, "text/x-raw");
          r.headers.add("X-From", name);
          co_return r;
        }) {
    EXPECT_TRUE(server.start().has_value());
  }
  std::atomic<int> requests{0};
  std::mutex mutex;  // of what the last request that was read whole had
  std::string host;
  std::size_t body_size = 0;
  std::atomic<int> seen{0};
  http::Server server;
};

struct FrontDoor : testing::Test {
  task::Loops loops{2};
  Upstream one{loops, "one"}, two{loops, "two"};
  services::Directory directory;
  std::shared_ptr<const mesh::RouteTable> table = mesh::compile({}).table;
  std::unique_ptr<http::Server> front;

  void service(services::Directory::Map& map, std::string_view name, std::vector<std::uint16_t> ports) {
    std::string list;
    for (auto p : ports)
      list += fmt::format(R"({}{{"addresses":[{{"ip":"127.0.0.1"}}],"ports":[{{"port":{}}}]}})",
                          list.empty() ? "" : ",", p);
    auto s = services::make_service(
        object(fmt::format(
            R"({{"metadata":{{"namespace":"ns","name":"{}"}},"spec":{{"clusterIP":"127.64.1.1","ports":[{{"port":80}}]}}}})",
            name)),
        object(fmt::format(R"({{"subsets":[{}]}})", list)).get(), {}, {}, nullptr);
    map[{"ns", std::string(name)}] = s;
  }
  void SetUp() override {
    std::uint16_t dead = 0;
    {
      Upstream gone(loops, "gone");
      dead = gone.server.port();
      gone.server.stop(0);
    }
    auto map = std::make_shared<services::Directory::Map>();
    service(*map, "one", {one.server.port()});
    service(*map, "two", {two.server.port()});
    service(*map, "both", {one.server.port(), two.server.port()});
    service(*map, "half", {dead, two.server.port()});
    service(*map, "dead", {dead});
    service(*map, "empty", {});
    directory.replace(map);
    front = std::make_unique<http::Server>(loops, http::ServerOptions{.name = "front"},
                                           make_gateway({[this] { return table; }, &directory, nullptr,
                                                         [](http::Request& rq) -> task::Task<http::Response> {
                                                           co_return http::Response::text(
                                                               200, fmt::format("own {}", rq.target));
                                                         }}));
    ASSERT_TRUE(front->start().has_value());
  }
  void TearDown() override {
    front->stop(0);
    one.server.stop(0);
    two.server.stop(0);
    loops.stop();
  }
  std::uint16_t port() const { return front->port(); }
  void rules(std::string_view http, std::string_view hosts = R"(["*"])") {
    auto gateway = object(
        R"({"metadata":{"namespace":"ns","name":"gw"},"spec":{"selector":{"istio":"ingressgateway"},"servers":[{"port":{"number":80},"hosts":["*"]}]}})");
    auto vs = object(fmt::format(
        R"({{"metadata":{{"namespace":"ns","name":"vs"}},"spec":{{"gateways":["gw"],"hosts":{},"http":{}}}}})", hosts,
        http));
    auto out = mesh::compile({{vs}, {}, {gateway}});
    EXPECT_TRUE(out.notices.empty());
    table = out.table;
  }
};

TEST_F(FrontDoor, WithoutARouteThisProgramAnswers) { EXPECT_EQ(body(get(port(), "/v2/x?y=1")), "own /v2/x?y=1"); }

TEST_F(FrontDoor, ARuleRewritesAndTellsWhereItCameFrom) {
  rules(
      R"([{"match":[{"uri":{"prefix":"/one/"}}],"rewrite":{"uri":"/"},"headers":{"request":{"set":{"X-Set":"1"},"remove":["X-Gone"]},"response":{"add":{"X-Added":"2"}}},
            "route":[{"destination":{"host":"one","port":{"number":80}}}]}])");
  auto a = get(port(), "/one/a/b?q=1", "h.example:8080",
               "X-Gone: 1\r\nX-Forwarded-For: 9.9.9.9\r\nX-Request-Id: id-7\r\nKeep-Alive: x\r\n");
  EXPECT_EQ(status(a), 200);
  auto b = body(a);
  EXPECT_TRUE(b.find("one GET /a/b?q=1\n") != std::string::npos) << a;
  EXPECT_TRUE(b.find("Host: h.example:8080\n") != std::string::npos) << b;
  EXPECT_TRUE(b.find("X-Forwarded-For: 9.9.9.9,127.0.0.1\n") != std::string::npos) << b;
  EXPECT_TRUE(b.find("X-Forwarded-Proto: http\n") != std::string::npos) << b;
  EXPECT_TRUE(b.find("X-Request-Id: id-7\n") != std::string::npos) << b;
  EXPECT_TRUE(b.find("X-Set: 1\n") != std::string::npos) << b;
  EXPECT_EQ(b.find("X-Gone"), std::string::npos) << b;
  EXPECT_EQ(b.find("Keep-Alive"), std::string::npos) << b;
  EXPECT_EQ(header(a, "X-Added"), "2");
  EXPECT_EQ(header(a, "X-From"), "one");
  EXPECT_EQ(header(a, "X-Request-Id"), "id-7");
}

TEST_F(FrontDoor, TheFolderOfAPrefixIsRedirected) {
  rules(R"([{"match":[{"uri":{"prefix":"/one/"}}],"rewrite":{"uri":"/"},"route":[{"destination":{"host":"one"}}]}])");
  auto a = get(port(), "/one?x=1");
  EXPECT_EQ(status(a), 301);
  EXPECT_EQ(header(a, "Location"), "/one/?x=1");
  EXPECT_EQ(body(get(port(), "/on")), "own /on");
  auto posted = ask(port(), "POST /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(body(posted), "own /one");
}

TEST_F(FrontDoor, PathsCannotClimb) {
  rules(R"([{"match":[{"uri":{"prefix":"/one/"}}],"rewrite":{"uri":"/"},"route":[{"destination":{"host":"one"}}]}])");
  EXPECT_EQ(status(get(port(), "/../x")), 400);
  EXPECT_TRUE(body(get(port(), "/one/a/%2e%2e/b")).find("one GET /b\n") != std::string::npos);
  EXPECT_EQ(body(get(port(), "/one/../x")), "own /one/../x");
}

TEST_F(FrontDoor, BodiesPassInEveryFraming) {
  rules(R"([{"route":[{"destination":{"host":"one"}}]}])");
  std::string big(200'000, 'x');
  auto whole = ask(
      port(),
      fmt::format("POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", big.size(), big));
  EXPECT_TRUE(body(whole).find("body 200000\n") != std::string::npos) << whole;
  EXPECT_TRUE(body(whole).find("Content-Length: 200000\n") != std::string::npos) << whole;
  auto chunked = ask(port(),
                     "POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_TRUE(body(chunked).find("body 5\n") != std::string::npos) << chunked;
  auto none = ask(port(), "POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(body(none).find("body 0\n") != std::string::npos) << none;
  auto expecting =
      ask(port(),
          "POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_TRUE(expecting.find("body 3\n") != std::string::npos) << expecting;
  auto head = ask(port(), "HEAD /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status(head), 200);
  EXPECT_EQ(body(head), "");
}

TEST_F(FrontDoor, LongAnswersAreStreamed) {
  rules(R"([{"route":[{"destination":{"host":"one"}}]}])");
  auto a = ask(port(), "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(std::ranges::count(a, 'z'), 3'000'000);
}

TEST_F(FrontDoor, KeptConnectionsServeManyRequests) {
  rules(R"([{"route":[{"destination":{"host":"both"}}]}])");
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) seen.insert(header(get(port(), "/k"), "X-From"));
  EXPECT_EQ(seen, (std::set<std::string>{"one", "two"}));
}

TEST_F(FrontDoor, WeightsShareRequests) {
  rules(R"([{"route":[{"destination":{"host":"one"},"weight":30},{"destination":{"host":"two"},"weight":70}]}])");
  int ones = 0;
  for (int i = 0; i < 400; ++i) ones += header(get(port(), "/k"), "X-From") == "one" ? 1 : 0;
  EXPECT_GT(ones, 60);
  EXPECT_LT(ones, 200);
}

TEST_F(FrontDoor, TroubleIsAnsweredAsTheRealOneDoes) {
  rules(R"([{"match":[{"uri":{"prefix":"/dead"}}],"route":[{"destination":{"host":"dead"}}]},
            {"match":[{"uri":{"prefix":"/empty"}}],"route":[{"destination":{"host":"empty"}}]},
            {"match":[{"uri":{"prefix":"/nowhere"}}],"route":[{"destination":{"host":"www.example.com"}}]},
            {"match":[{"uri":{"prefix":"/subset"}}],"route":[{"destination":{"host":"one","subset":"v1"}}]},
            {"match":[{"uri":{"exact":"/stall"}}],"timeout":"0.05s","route":[{"destination":{"host":"one"}}]},
            {"match":[{"uri":{"prefix":"/half"}}],"route":[{"destination":{"host":"half"}}]},
            {"match":[{"uri":{"exact":"/busy"}}],"retries":{"attempts":1},"route":[{"destination":{"host":"one"}}]},
            {"match":[{"uri":{"exact":"/abort"}}],"fault":{"abort":{"percentage":{"value":100},"httpStatus":418}},"route":[{"destination":{"host":"one"}}]},
            {"match":[{"uri":{"exact":"/moved"}}],"redirect":{"uri":"/there","redirectCode":302}},
            {"match":[{"uri":{"exact":"/direct"}}],"directResponse":{"status":410,"body":{"string":"gone"}}}])",
        R"(["x.example"])");
  auto at = [&](std::string_view target) { return get(port(), target, "x.example"); };
  EXPECT_EQ(status(at("/dead")), 503);
  EXPECT_TRUE(
      body(at("/dead"))
          .starts_with("upstream connect error or disconnect/reset before headers. reset reason: connection failure"));
  for (auto target : {"/empty", "/nowhere", "/subset"}) {
    auto a = at(target);
    EXPECT_EQ(status(a), 503) << target;
    EXPECT_EQ(body(a), "no healthy upstream") << target;
  }
  auto late = at("/stall");
  EXPECT_EQ(status(late), 504);
  EXPECT_EQ(body(late), "upstream request timeout");
  for (int i = 0; i < 6; ++i) EXPECT_EQ(header(at("/half"), "X-From"), "two");
  one.requests = 0;
  EXPECT_EQ(status(at("/busy")), 200);
  EXPECT_EQ(one.requests, 2);
  EXPECT_EQ(status(at("/abort")), 418);
  EXPECT_EQ(header(at("/moved"), "Location"), "http://x.example/there");
  EXPECT_EQ(body(at("/direct")), "gone");
  EXPECT_EQ(status(at("/none")), 404);
  EXPECT_EQ(body(get(port(), "/none", "y.example")), "own /none");
}

TEST_F(FrontDoor, CrossOriginRules) {
  rules(
      R"([{"corsPolicy":{"allowOrigins":[{"exact":"https://a.b"}],"allowMethods":["GET"],"maxAge":"1h"},"route":[{"destination":{"host":"one"}}]}])");
  auto pre = ask(port(),
                 "OPTIONS /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: "
                 "https://a.b\r\nAccess-Control-Request-Method: GET\r\n\r\n");
  EXPECT_EQ(status(pre), 200);
  EXPECT_EQ(header(pre, "Access-Control-Allow-Origin"), "https://a.b");
  EXPECT_EQ(header(pre, "Access-Control-Allow-Methods"), "GET");
  EXPECT_EQ(header(pre, "Access-Control-Max-Age"), "3600");
  EXPECT_EQ(header(get(port(), "/x", "x", "Origin: https://a.b\r\n"), "Access-Control-Allow-Origin"), "https://a.b");
  EXPECT_EQ(header(get(port(), "/x", "x", "Origin: https://c.d\r\n"), "Access-Control-Allow-Origin"), "");
}

TEST_F(FrontDoor, CopiesGoToTheMirror) {
  rules(R"([{"mirrors":[{"destination":{"host":"two"}}],"route":[{"destination":{"host":"one"}}]}])");
  auto post = [&](std::string_view path, std::size_t size, std::string_view host) {
    return ask(port(), fmt::format("POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
                                   path, host, size, std::string(size, 'c')));
  };
  auto copied = [&](int requests) {
    for (int i = 0; i < 6000 && two.seen < requests; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::lock_guard guard(two.mutex);
    return std::pair(two.host, two.body_size);
  };
  EXPECT_EQ(header(post("/m", 3, "x"), "X-From"), "one");
  EXPECT_EQ(copied(1), std::pair(std::string("x-shadow"), std::size_t{3}));
  // As large as a request for many rows; the port stays behind the name.
  EXPECT_EQ(header(post("/m", 300'000, "x:8080"), "X-From"), "one");
  EXPECT_EQ(copied(2), std::pair(std::string("x-shadow:8080"), std::size_t{300'000}));
  // What is larger than is kept goes to the route alone.
  EXPECT_EQ(header(post("/m", 2'000'000, "x"), "X-From"), "one");
  EXPECT_EQ(header(post("/m", 4, "x"), "X-From"), "one");
  EXPECT_EQ(copied(3), std::pair(std::string("x-shadow"), std::size_t{4}));
  // A mirror that is not there is in nobody's way.
  rules(
      R"([{"mirrors":[{"destination":{"host":"dead"}},{"destination":{"host":"empty"}}],"route":[{"destination":{"host":"one"}}]}])");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(header(post("/m", 5, "x"), "X-From"), "one");
}

TEST_F(FrontDoor, UpgradesPass) {
  rules(R"([{"route":[{"destination":{"host":"one"}}]}])");
  auto a = ask(port(), "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello");
  EXPECT_EQ(status(a), 101) << a;
  EXPECT_EQ(header(a, "Upgrade"), "shout");
  EXPECT_EQ(body(a), "echo hello");
  auto refused =
      ask(port(), "GET /plain HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: shout\r\n\r\n", 200);
  EXPECT_EQ(status(refused), 200) << refused;
}

TEST_F(FrontDoor, WhatHasNoBodyStaysWithoutOne) {
  rules(R"([{"route":[{"destination":{"host":"one"}}]}])");
  auto head = ask(port(), "HEAD /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(header(head, "Content-Length"), "") << head;
  EXPECT_EQ(body(head), "");
  auto none = get(port(), "/none");
  EXPECT_EQ(status(none), 204) << none;
  EXPECT_EQ(body(none), "");
}

TEST_F(FrontDoor, LargeBodiesStreamInEitherFraming) {
  rules(R"([{"route":[{"destination":{"host":"one"}}]}])");
  std::string big(5'000'000, 'b');
  auto sized = ask(
      port(),
      fmt::format("POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", big.size(), big));
  EXPECT_TRUE(sized.find("body 5000000\n") != std::string::npos) << sized;
  auto chunked = ask(port(), fmt::format("POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: "
                                         "chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                                         big.size(), big));
  EXPECT_TRUE(chunked.find("body 5000000\n") != std::string::npos) << chunked;
}

}  // namespace
}  // namespace mr::gateway
