#include "serving/revision_metrics.h"

#include <map>
#include <mutex>

#include "metrics/metrics.h"
#include "time/clock.h"

namespace mr::serving {

namespace {

// Series of one pod, made as statuses come up.
class RevisionSeries {
 public:
  explicit RevisionSeries(metrics::Labels labels) : labels_(std::move(labels)) {}
  void count(int status, std::int64_t ns) {
    std::lock_guard guard(mutex_);
    auto it = by_status_.find(status);
    if (it == by_status_.end()) {
      auto labels = labels_;
      labels.emplace_back("response_code", std::to_string(status));
      labels.emplace_back("response_code_class", std::to_string(status / 100) + "xx");
      it = by_status_
               .emplace(status,
                        std::pair(metrics::counter("revision_app_request_count", "Requests of a revision.", labels),
                                  metrics::millisecond_histogram("revision_app_request_latencies",
                                                                 "Times of requests in milliseconds.", labels)))
               .first;
    }
    it->second.first.add();
    it->second.second.observe(static_cast<double>(ns) / 1e6);
  }

 private:
  metrics::Labels labels_;
  std::mutex mutex_;
  std::map<int, std::pair<metrics::Counter, metrics::Histogram>> by_status_;
};

}  // namespace

http::Handler with_revision_metrics(http::Handler inner, const kube::Object& pod) {
  metrics::Labels labels{
      {"container_name", "kserve-container"},
      {"namespace_name", std::string(kube::namespace_of(pod))}};  // pods come and go: series would stay
  for (auto [name, label] : {std::pair{"configuration_name", "serving.knative.dev/configuration"},
                             std::pair{"revision_name", "serving.knative.dev/revision"},
                             std::pair{"service_name", "serving.knative.dev/service"}})
    labels.emplace_back(name, kube::label(pod, label));
  auto series = std::make_shared<RevisionSeries>(std::move(labels));
  return [inner = std::move(inner), series](http::Request& rq) -> task::Task<http::Response> {
    // Health questions come every second and say nothing.
    const bool probe = rq.method == http::Method::get;
    const auto began = time::mono_ns();
    auto answer = co_await inner(rq);
    if (!probe) series->count(answer.status, time::mono_ns() - began);
    co_return answer;
  };
}

}  // namespace mr::serving
