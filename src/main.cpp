#include <csignal>
#include <cstdio>

#include "http/router.h"
#include "http/server.h"
#include "sql/database.h"
#include "task/loop.h"

int main() {
  using namespace mr;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  task::Loops loops(2);
  auto db = sql::Database::open_sqlite("/tmp/x.db");
  if (!db) { fmt::print("{} {}\n", db.error().message, db.error().detail); return 1; }
  (void)(*db)->write_blocking([](sql::Connection& c) -> Result<int> { MR_CHECK(c.exec("CREATE TABLE IF NOT EXISTS t(a INTEGER, b TEXT, c FLOAT)")); return 1; });
  http::Router router;
  router.add(http::Method::get, "/healthz", [](http::Request&) -> task::Task<http::Response> { co_return http::Response::text(200, "ok\n"); });
  router.add(http::Method::post, "/echo", [](http::Request& r) -> task::Task<http::Response> {
    auto b = co_await http::read_all(r, 1 << 20);
    co_return http::Response::text(b ? 200 : 400, b ? *b : b.error().message); });
  router.add(http::Method::post, "/w", [&](http::Request& r) -> task::Task<http::Response> {
    auto b = co_await (*db)->write([](sql::Connection& c) -> Result<std::int64_t> { return c.exec("INSERT INTO t VALUES(?,?,?)", 5, "abc", 1.5); });
    co_return http::Response::text(b ? 200 : 400, b ? "ok" : b.error().message + b.error().detail); });
  router.add(http::Method::get, "/r", [&](http::Request& r) -> task::Task<http::Response> {
    auto b = (*db)->read([](sql::Connection& c) -> Result<std::string> { std::string s; MR_CHECK(c.query("SELECT a,b,c,NULL FROM t WHERE a=? LIMIT 3","isdi",{5},[&](const sql::Row& q){ s += fmt::format("{} {} {} {}\n", q.i64(0), q.text(1), q.real(2), q.null(3)); })); return s; });
    co_return http::Response::text(b ? 200 : 400, b ? *b : b.error().message + b.error().detail); });
  http::Server server(loops, {.name = "t", .port = 18080}, [&](http::Request& r) -> task::Task<http::Response> {
    auto m = router.find(r.method, r.path);
    if (!m.handler) co_return http::Response::text(404, "nope\n");
    r.params = std::move(m.params);
    co_return co_await (*m.handler)(r);
  });
  if (auto s = server.start(); !s) { fmt::print("{}\n", s.error().message); return 1; }
  int sig = 0;
  sigwait(&set, &sig);
  server.stop(5);
  loops.stop();
}
