// Keeps the front door's route table true of the VirtualService, DestinationRule and Gateway objects, and says on the
// objects what is wrong with them.
// Ownership: uses the Manager, which must outlive it. Thread safety: start() before the Manager starts; table() from
// any thread.
#pragma once
#include <memory>

#include "kube/kit.h"
#include "mesh/route_table.h"

namespace mr::gateway {

class MeshWatch {
 public:
  explicit MeshWatch(kube::Manager& manager);
  ~MeshWatch();
  void start();
  void stop();  // after the Manager's stop()
  [[nodiscard]] std::shared_ptr<const mesh::RouteTable> table() const;

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace mr::gateway
