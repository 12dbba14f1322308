// The pages by their addresses; each part of the platform is loaded when it is first opened.
import type { ComponentType } from "preact";

type Loader = () => Promise<{ default: ComponentType<never> }>;
export const routes: Record<string, Loader> = {
  "/pipelines": () => import("./pages/pipelines"),
  "/pipelines/runs/{id}": () => import("./pages/run"),
  "/pipelines/definitions/{id}": () => import("./pages/definition"),
};
