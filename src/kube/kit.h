// The controllers' kit: informers (a local copy of a collection, kept by list and watch), work queues with back-off,
// events. Everything of one Manager runs on one loop, so controllers need no locks and must never block.
// Ownership: the Manager owns informers and controllers; it must outlive the loop's work (stop() first).
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kube/client.h"
#include "task/loop.h"

namespace mr::kube {

class Informer {
 public:
  virtual ~Informer() = default;
  [[nodiscard]] virtual ObjectPtr get(const Key& key) const = 0;
  // All, or one namespace's, ordered by key.
  [[nodiscard]] virtual std::vector<ObjectPtr> list(std::string_view ns = {}) const = 0;
  // Those whose metadata.ownerReferences name this uid.
  [[nodiscard]] virtual std::vector<ObjectPtr> owned_by(std::string_view uid) const = 0;
  [[nodiscard]] virtual bool synced() const = 0;
  // Called on the loop for each change; `now` null: deleted, `before` null: new. Also for what is there at
  // registration.
  virtual void on_change(std::function<void(const ObjectPtr& now, const ObjectPtr& before)> fn) = 0;
};

// What reconcile() says about when to come again.
struct Again {
  long after_ms = -1;  // -1: only when something changes
};
// Makes the world as the object at `key` says. Idempotent. An error is logged and tried again with back-off
// (5 ms doubling to 5 min); reasons "Conflict" and "NotFound" are retried quietly.
using Reconcile = std::function<task::Task<Result<Again>>(Key key)>;

class Queue {
 public:
  virtual ~Queue() = default;
  // A key that waits already is not added twice; one being worked on is worked on again afterwards.
  virtual void add(Key key) = 0;
  virtual void add_after(Key key, long ms) = 0;
};

class Manager {
 public:
  Manager(task::Loop& loop, Client& client);
  ~Manager();
  [[nodiscard]] task::Loop& loop() const;
  [[nodiscard]] Client& client() const;
  // The informer of a collection (all namespaces), shared by all controllers. Call on the loop or before start().
  Informer& informer(const Gvr& r);
  // A controller: its queue feeds `reconcile`, at most `workers` keys at a time, none before all informers are synced.
  Queue& controller(std::string name, Reconcile reconcile, int workers = 4);
  // Adds the object's key to `q` at each change of it.
  void enqueue_changes(Informer& of, Queue& q);
  // Adds the key of the controlling owner of kind `owner_kind` to `q` at each change of an owned object.
  void enqueue_owner(Informer& of, std::string owner_kind, Queue& q);
  // Records a core/v1 Event about `about` (same reason and message again: its count grows). type: Normal, Warning.
  void event(const Object& about, std::string_view type, std::string_view reason, std::string message,
             std::string_view component);
  void start();
  // Stops watching and working; returns when the last reconcile has ended. Call from outside the loop.
  void stop();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::kube
