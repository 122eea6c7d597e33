// Escape closes a question that a button has opened, and gives the focus back to the button.
"use strict";

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const question of document.querySelectorAll("details.confirm[open]")) {
    const within = question.contains(document.activeElement);
    question.open = false;
    if (within) question.querySelector("summary").focus();
  }
});
