// The log of requests: how events look, and what becomes of those that its sink does not take.
#include "serving/request_log.h"

#include <gtest/gtest.h>

#include "http/server.h"
#include "metrics/metrics.h"
#include "task/loop.h"

namespace mr::serving {
namespace {

LoggedEvent event(std::size_t bytes = 3) {
  LoggedEvent e;
  e.id = "id-1";
  e.body = std::make_shared<const std::string>(bytes, 'x');
  return e;
}

double count_of(std::string_view service, std::string_view result) {
  const auto text = metrics::expose();
  const auto series = fmt::format(
      R"(millrace_request_log_events_total{{inference_service="{}",namespace="",result="{}"}} )", service, result);
  auto at = text.find(series);
  return at == std::string::npos ? -1 : std::stod(text.substr(at + series.size(), 20));
}

TEST(RequestLog, EventsAreThoseOfKServesAgent) {
  RequestLogOptions o;
  o.source = "pod-1";
  o.service = "churn";
  o.ns = "team";
  o.component = "predictor";
  o.annotations = {{"owner", "a \"b\""}};
  auto e = event();
  e.time_ms = 1'800'000'000'123;
  e.metadata = R"({"X-A":["1"]})";
  auto h = event_headers(o, e);
  EXPECT_EQ(h.get("Ce-Specversion"), "1.0");
  EXPECT_EQ(h.get("Ce-Id"), "id-1");
  EXPECT_EQ(h.get("Ce-Source"), "pod-1");
  EXPECT_EQ(h.get("Ce-Type"), "org.kubeflow.serving.inference.request");
  EXPECT_EQ(h.get("Ce-Time"), "2027-01-15T08:00:00.123Z");
  EXPECT_EQ(h.get("Ce-Inferenceservicename"), "churn");
  EXPECT_EQ(h.get("Ce-Namespace"), "team");
  EXPECT_EQ(h.get("Ce-Component"), "predictor");
  EXPECT_FALSE(h.has("Ce-Endpoint"));
  EXPECT_EQ(h.get("Ce-Metadata"), R"({"X-A":["1"]})");
  EXPECT_EQ(h.get("Ce-Annotations"), R"({"owner":"a \"b\""})");
  EXPECT_EQ(h.get("Content-Type"), "application/json");
  e.answer = true;
  e.content_type = "text/x\r\nEvil: 1";
  h = event_headers(o, e);
  EXPECT_EQ(h.get("Ce-Type"), "org.kubeflow.serving.inference.response");
  EXPECT_EQ(h.get("Content-Type"), "text/x  Evil: 1");
}

TEST(RequestLog, WhatItIsTold) {
  EXPECT_EQ(parse_log_mode("all").value(), LogMode::all);
  EXPECT_EQ(parse_log_mode("request").value(), LogMode::request);
  EXPECT_FALSE(parse_log_mode("none").has_value());
  EXPECT_EQ(parse_names(" A, B-C,,"), (std::vector<std::string>{"A", "B-C"}));
  EXPECT_EQ(parse_annotations("a=1,b=2=3").value(),
            (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2=3"}}));
  EXPECT_FALSE(parse_annotations("a").has_value());
  for (const char* url : {"", "s3://bucket/x", "logger.default", "http://"}) {
    RequestLogOptions o;
    o.url = url;
    EXPECT_FALSE(RequestLog::make(o).has_value()) << url;
  }
}

TEST(RequestLog, ASlowSinkCostsEventsAndNobodysTime) {
  task::Loops loops(1);
  std::atomic<bool> go = false;
  std::atomic<int> taken = 0;
  http::Server sink(loops, {.name = "sink"}, [&](http::Request& rq) -> task::Task<http::Response> {
    auto body = co_await http::read_all(rq, 1 << 20);
    while (!go) co_await task::sleep_ms(5);
    ++taken;
    co_return http::Response::text(200, "");
  });
  ASSERT_TRUE(sink.start().has_value());
  RequestLogOptions o;
  o.url = fmt::format("http://127.0.0.1:{}/", sink.port());
  o.service = "slow";
  o.workers = 1;
  o.queue = 3;
  o.bytes = 1000;
  std::atomic<int> said = 0;
  o.say = [&](std::string_view) { ++said; };
  auto log = RequestLog::make(o).value();
  for (int i = 0; i < 50; ++i) log->add(event());
  log->add(event(2000));  // more bytes than may wait
  const auto dropped = count_of("slow", "dropped");
  EXPECT_GE(dropped, 51 - 4) << "three wait and one is being sent at most";
  EXPECT_LE(dropped, 51 - 3);
  EXPECT_EQ(said, 1);
  go = true;
  log->stop(60);
  EXPECT_EQ(count_of("slow", "sent"), 51 - dropped);
  EXPECT_EQ(taken, 51 - static_cast<int>(dropped));
  sink.stop(0);
  loops.stop();
}

TEST(RequestLog, ASinkThatIsNotThereIsToldOnce) {
  RequestLogOptions o;
  o.url = "http://127.0.0.1:1/";
  o.service = "gone";
  std::atomic<int> said = 0;
  o.say = [&](std::string_view text) {
    EXPECT_TRUE(text.contains("127.0.0.1:1")) << text;
    ++said;
  };
  auto log = RequestLog::make(o).value();
  for (int i = 0; i < 20; ++i) log->add(event());
  log->stop(60);
  EXPECT_EQ(count_of("gone", "failed"), 20);
  EXPECT_EQ(said, 1);
}

}  // namespace
}  // namespace mr::serving
