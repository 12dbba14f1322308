// Prometheus metrics. Handles are cheap, live as long as the process, and are thread safe.
#pragma once
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace mr::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
 public:
  explicit Counter(void* p) : p_(p) {}
  void add(double v = 1) const;

 private:
  void* p_;
};
class Gauge {
 public:
  explicit Gauge(void* p) : p_(p) {}
  void set(double v) const;
  void add(double v) const;

 private:
  void* p_;
};
class Histogram {
 public:
  explicit Histogram(void* p) : p_(p) {}
  void observe(double v) const;

 private:
  void* p_;
};

// The same name and labels give the same series.
Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
// Buckets for request durations in seconds, 50 us to 10 s.
Histogram duration_histogram(const std::string& name, const std::string& help, const Labels& labels = {});
// Buckets for numbers of things, 1 to 4096.
Histogram count_histogram(const std::string& name, const std::string& help, const Labels& labels = {});
// Knative's buckets for request times in milliseconds, 5 to 100,000.
Histogram millisecond_histogram(const std::string& name, const std::string& help, const Labels& labels = {});
// The text exposition of everything, with the process's own memory and CPU.
std::string expose();

}  // namespace mr::metrics
