#include "serving/exchange.h"

#include "time/clock.h"

namespace mr::serving {

task::Pool& compute_pool() {
  static task::Pool pool("mr-compute", std::max(1U, std::thread::hardware_concurrency()), 1024);
  return pool;
}
task::Pool& waiting_pool() {
  // Sleeping threads cost little; as many requests can be gathered into a worker's batch.
  static task::Pool pool("mr-waiting", 64, 4096);
  return pool;
}
http::Response refused(const Refusal& r) {
  auto out = http::Response::json(r.status, r.body);
  if (r.status == 429) out.headers.add("Retry-After", "1");
  return out;
}
http::Response body_error(const Error& e) {
  int status = e.code == Code::too_large           ? 413
               : e.code == Code::unsupported       ? 415
               : e.code == Code::deadline_exceeded ? 408
                                                   : 400;
  return refused(refusal(status, e.message));
}
Refusal no_place(ModelTraffic::Entry entry) {
  return entry == ModelTraffic::Entry::late ? refusal(504, "the request waited for its model longer than it may")
                                            : refusal(429, "too many inference requests are waiting; try again later");
}

Counted::Counted(std::shared_ptr<const Model> model) : model_(std::move(model)), began_(time::mono_ns()) {}
Counted::~Counted() {
  auto ns = time::mono_ns() - began_;
  model_->traffic->ended(answered_, ns);
  if (answered_) {
    model_->success.add();
    model_->seconds.observe(static_cast<double>(ns) / 1e9);
  } else {
    model_->failure.add();
  }
}

}  // namespace mr::serving
