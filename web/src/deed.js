// Deed: a button that asks the server for something, and says what came of it.
import { useState } from "./ui.js";

/** `[state, act]`: state is {isBusy, problem, isDone}; act runs an async function once at a time. */
export function useDeed() {
  const [state, setState] = useState({ isBusy: false, problem: null, isDone: false });
  const act = async (deed) => {
    if (state.isBusy) return;
    setState({ isBusy: true, problem: null, isDone: false });
    try {
      await deed();
      setState({ isBusy: false, problem: null, isDone: true });
    } catch (error) {
      setState({ isBusy: false, problem: error.message, isDone: false });
    }
  };
  return [state, act];
}
